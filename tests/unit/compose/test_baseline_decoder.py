import dataclasses

import numpy as np
import pytest
import torch

from emoray.compose.baseline_decoder import BaselineDecoder, context, sample_pitches
from emoray.compose.decoding import BatchDecoder
from emoray.config import BaselinePreset, OriginalGuidance
from emoray.dataset.clusters import fit_clusters
from emoray.model.baseline import BaselineNetwork
from emoray.model.checkpoint import Checkpoint
from emoray.notes import HIGHEST_KEY, LOWEST_KEY, SHORTEST, as_notes
from emoray.request import MOST_NOTES, Prompt

FEATURES = np.random.default_rng(0).lognormal(0, 0.4, (200, 9)).astype(np.float32) * ([0.2] * 6 + [60.0] * 3)


def checkpoint(network=None):
    torch.manual_seed(0)
    clusters = fit_clusters(FEATURES.astype(np.float32), window=26, durations="key-down")
    preset = BaselinePreset()
    return Checkpoint(
        network=(network or BaselineNetwork(preset.hidden)).eval(),
        preset=preset, clusters=clusters, metrics={}, fingerprint="test",
    )  # fmt: skip


def tune(count=40, random_seed=0):
    generator = np.random.default_rng(random_seed)
    onset = np.cumsum(generator.uniform(0.05, 0.4, count))
    return as_notes(onset, generator.uniform(0.1, 0.6, count), generator.integers(40, 90, count),
                    generator.integers(40, 100, count))  # fmt: skip


def mixed_requests(count):
    modes = ("original", "none", "original-literal", "original-tempered")
    return [
        Prompt(
            seed=tune(1 + number * 3, number), valence=(1.0, -1.0, 0.3)[number % 3], random_seed=number,
            notes=None if number % 5 == 0 else 10 + number, seconds=2.0 if number % 5 == 0 else None,
            guidance=modes[number % 4], strength=1.0 + number % 2,
            temperature=0.9 if number % 4 == 0 else None,
        )
        for number in range(count)
    ]  # fmt: skip


def test_a_request_sounds_the_same_alone_in_any_crowd_and_in_any_order():
    composer, requests = BatchDecoder(checkpoint(), batch_size=16), mixed_requests(40)
    together = composer.compose(requests)
    backwards = composer.compose(requests[::-1])[::-1]
    small = BatchDecoder(checkpoint(), batch_size=3).compose(requests)
    for number, notes in enumerate(together):
        assert notes.tobytes() == backwards[number].tobytes() == small[number].tobytes()
        if number % 5 == 0:
            assert notes.tobytes() == composer.compose([requests[number]])[0].tobytes()


def test_a_request_may_not_be_heard_by_its_neighbours():
    composer = BatchDecoder(checkpoint())
    one, two = mixed_requests(2)
    louder = dataclasses.replace(two, strength=9.0, valence=-1.0)
    assert composer.compose([one, two])[0].tobytes() == composer.compose([one, louder])[0].tobytes()


def test_other_random_seeds_make_other_music():
    composer, seed = BatchDecoder(checkpoint()), tune()
    pieces = composer.compose([Prompt(seed=seed, valence=1.0, random_seed=n) for n in range(4)])
    assert len({piece.tobytes() for piece in pieces}) == 4


def test_a_strength_or_a_valence_of_nothing_is_the_mode_none():
    composer, seed = BatchDecoder(checkpoint()), tune()
    plain, weak, neutral, guided = composer.compose(
        [
            Prompt(seed=seed, valence=-1.0, guidance="none"),
            Prompt(seed=seed, valence=-1.0, strength=0.0),
            Prompt(seed=seed, valence=0.0),
            Prompt(seed=seed, valence=-1.0),
        ]
    )
    assert plain.tobytes() == weak.tobytes() == neutral.tobytes() != guided.tobytes()


def test_lengths_in_notes_are_kept():
    [notes] = BatchDecoder(checkpoint()).compose([Prompt(seed=tune(), valence=1.0, notes=33)])
    assert len(notes) == 33


@pytest.mark.parametrize("seconds", [0.1, 1.0, 7.5])
def test_lengths_in_seconds_are_kept_to_the_last_sound(seconds):
    seed = tune()
    [notes] = BatchDecoder(checkpoint()).compose([Prompt(seed=seed, valence=-1.0, seconds=seconds)])
    assert len(notes) >= 1
    last = notes["onset"] + notes["duration"] - seed["onset"][-1]
    assert last.max() <= seconds + SHORTEST + 1e-6


def steady(step, duration):
    """A network that always predicts the same."""
    network = BaselineNetwork(128)
    with torch.no_grad():
        for head, always in ((network.pitch, 0.0), (network.step, step), (network.duration, duration)):
            head.weight.zero_()
            head.bias.fill_(always)
    return network


def test_a_request_in_seconds_ends_even_if_the_network_stands_still():
    [notes] = BatchDecoder(checkpoint(steady(-1.0, -1.0))).compose(
        [Prompt(seed=tune(), valence=1.0, seconds=2.0)]
    )
    assert len(notes) == 80 < MOST_NOTES
    assert (notes["duration"] >= np.float32(SHORTEST)).all()


def test_composed_notes_come_after_the_seed_and_stay_on_the_piano():
    for request in mixed_requests(12):
        [notes] = BatchDecoder(checkpoint()).compose([request])
        assert notes["onset"][0] > request.seed["onset"][-1]
        if request.guidance != "original-literal":
            assert notes["pitch"].min() >= LOWEST_KEY
            assert notes["pitch"].max() <= HIGHEST_KEY


def test_happy_is_faster_than_sad_by_gamma_and_otherwise_keeps_the_predicted_times():
    """Same random seed, so the same gamma g: steps are 1 - g against 1 + g of what the network said."""
    composer, seed = BatchDecoder(checkpoint(steady(0.25, 0.2))), tune()
    happy, sad = composer.compose(
        [Prompt(seed=seed, valence=valence, notes=20, random_seed=5) for valence in (1.0, -1.0)]
    )
    gamma = abs(1 - np.random.default_rng(5).normal(1.0, 0.1, 2)[0])
    np.testing.assert_allclose(np.diff(happy["onset"]), 0.25 * (1 - gamma), rtol=1e-6)
    np.testing.assert_allclose(np.diff(sad["onset"]), 0.25 * (1 + gamma), rtol=1e-6)


def test_the_window_holds_what_was_predicted_so_that_gamma_does_not_compound():
    loaded = checkpoint(steady(0.25, 0.2))
    decoder = BaselineDecoder(loaded.network.prepared(), loaded.preset, loaded.clusters, OriginalGuidance())
    decoder.join([(0, Prompt(seed=tune(), valence=-1.0))])
    for _ in range(25):
        decoder.decode_step()
    np.testing.assert_array_equal(decoder.windows[0, :, 1], np.float32(0.25))


def test_a_short_seed_is_repeated_until_it_fills_the_window():
    seed = as_notes([1.0, 1.5, 2.5], [0.3, 0.3, 0.3], [60, 62, 64], [80] * 3)
    window = context(seed, 7)
    assert np.rint(window[:, 0] * 128).tolist() == [64, 60, 62, 64, 60, 62, 64]
    assert window[:, 1].tolist() == [1.0, 0.75, 0.5, 1.0, 0.75, 0.5, 1.0]
    assert context(seed[:1], 25).shape == (25, 3)


def test_a_long_seed_counts_by_its_end():
    long = tune(300)
    composer = BatchDecoder(checkpoint())
    whole, tail = composer.compose([Prompt(seed=part, valence=1.0) for part in (long, long[-100:])])
    assert whole["pitch"].tolist() == tail["pitch"].tolist()


def test_pitches_are_drawn_as_often_as_their_logits_say():
    logits = np.full(128, -np.inf)
    logits[[60, 64, 67]] = np.log([0.5, 0.3, 0.2])
    numbers = np.random.default_rng(0).random(20_000)
    pitches = sample_pitches(np.tile(logits, (20_000, 1)), np.ones(20_000), numbers)
    sampled = np.bincount(pitches, minlength=128) / 20_000
    np.testing.assert_allclose(sampled[[60, 64, 67]], [0.5, 0.3, 0.2], atol=0.012)
    assert sampled.sum() == sampled[[60, 64, 67]].sum()


def test_temperature_0_takes_the_likeliest_and_the_largest_number_a_pitch_that_has_a_chance():
    rising = np.arange(128.0)
    cut = np.where(rising < 100, rising, -np.inf)
    almost = np.nextafter(1.0, 0.0)
    pitches = sample_pitches(np.stack([rising, -rising, cut]), np.array([0.0, 0.0, 1.0]), np.full(3, almost))
    assert pitches.tolist() == [127, 0, 99]


def test_a_tempered_strength_towards_nothing_comes_to_the_mode_none():
    """original-tempered divides by beta, so without its score it is the network's own distribution."""
    composer, seed = BatchDecoder(checkpoint()), tune()
    plain, faint = composer.compose(
        [
            Prompt(seed=seed, valence=1.0, guidance="none"),
            Prompt(seed=seed, valence=1.0, guidance="original-tempered", strength=1e-9),
        ]
    )
    assert plain["pitch"].tolist() == faint["pitch"].tolist()
    np.testing.assert_allclose(plain["onset"], faint["onset"], rtol=1e-6)
