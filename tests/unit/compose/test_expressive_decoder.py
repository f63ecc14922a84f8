import math

import numpy as np
import pytest
import torch

from emoray.compose.decoding import BatchDecoder
from emoray.config import BaselinePreset, ExpressivePreset
from emoray.dataset.bins import DURATION_EDGES, STEP_EDGES, bins_of
from emoray.dataset.clusters import fit_clusters
from emoray.errors import RequestError
from emoray.model.baseline import BaselineNetwork
from emoray.model.checkpoint import Checkpoint
from emoray.model.expressive import ExpressiveNetwork
from emoray.notes import HIGHEST_KEY, LOWEST_KEY, as_notes, end, steps
from emoray.request import Prompt

FEATURES = np.random.default_rng(0).lognormal(0, 0.4, (200, 9)).astype(np.float32) * ([0.2] * 6 + [60.0] * 3)
MODES = (
    "none",
    "cfg",
    "attributes",
    "original",
    "original-tempered",
    "original-literal",
    "original-logit",
    "logodds",
)


def checkpoint():
    torch.manual_seed(0)
    preset = ExpressivePreset(embedding=24, hidden=32, head=16, lookahead=16)
    network = ExpressiveNetwork(preset).eval()
    with torch.no_grad():  # an untrained network hardly follows its condition
        network.condition.weight.mul_(8)
    clusters = fit_clusters(FEATURES.astype(np.float32), window=26, durations="sounding")
    return Checkpoint(network=network, preset=preset, clusters=clusters, metrics={}, fingerprint="test")


COMPOSER = BatchDecoder(checkpoint(), batch_size=8)


def tune(count=40, random_seed=0):
    generator = np.random.default_rng(random_seed)
    onset = np.cumsum(generator.uniform(0.05, 0.4, count))
    return as_notes(onset, generator.uniform(0.1, 0.6, count), generator.integers(40, 90, count),
                    generator.integers(40, 100, count))  # fmt: skip


def mixed_requests(count):
    return [
        Prompt(
            seed=tune(1 + number * 7, number), valence=(1.0, -1.0, 0.3)[number % 3], random_seed=number,
            arousal=(None, 0.5)[number % 2], notes=None if number % 5 == 0 else 10 + number,
            seconds=2.0 if number % 5 == 0 else None, guidance=MODES[number % len(MODES)],
            strength=1.0 + number % 2, curve=((0, -1, 1), (2, 1, -1)) if number % 4 == 1 else (),
        )
        for number in range(count)
    ]  # fmt: skip


def composed(**asked):
    return COMPOSER.compose(
        [Prompt(**{"seed": tune(), "valence": 1.0, "guidance": "cfg", "notes": 40} | asked)]
    )[0]


def test_a_prompt_has_the_same_bytes_alone_in_any_batch_and_in_any_order():
    requests = mixed_requests(20)
    together = COMPOSER.compose(requests)
    backwards = BatchDecoder(checkpoint(), batch_size=3).compose(requests[::-1])[::-1]
    for request, one, two in zip(requests, together, backwards, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, COMPOSER.compose([request])[0])


@pytest.mark.parametrize("mode", MODES)
def test_a_strength_of_nothing_or_no_emotion_is_the_mode_none(mode):
    plain = composed(guidance="none")
    np.testing.assert_array_equal(composed(guidance=mode, strength=0.0), plain)
    np.testing.assert_array_equal(composed(guidance=mode, valence=0.0), plain)


@pytest.mark.parametrize(
    "mode", ["cfg", "attributes", "original", "original-tempered", "original-logit", "logodds"]
)
def test_happy_and_sad_differ_in_every_mode_that_acts(mode):
    happy, sad = composed(guidance=mode, valence=1.0), composed(guidance=mode, valence=-1.0)
    assert len(happy) != len(sad) or (happy != sad).any()


@pytest.mark.parametrize("mode", ["cfg", "attributes"])
def test_valence_and_arousal_are_heard_apart(mode):
    corners = [composed(guidance=mode, valence=v, arousal=a) for v in (-1.0, 1.0) for a in (-1.0, 1.0)]
    assert len({corner.tobytes() for corner in corners}) == 4


def test_a_curve_begins_as_its_first_point_and_goes_elsewhere_later():
    level = composed(valence=-1.0, notes=60)
    half_way = float(level["onset"][30] - tune()["onset"][-1])
    curve = ((0.0, -1.0, -1.0), (half_way, -1.0, -1.0), (half_way + 0.1, 1.0, 1.0))
    turned = composed(curve=curve, notes=60)
    np.testing.assert_array_equal(turned[:28], level[:28])
    assert (turned[31:] != level[31:]).any()


def test_lengths_are_kept():
    assert len(composed(notes=33)) == 33
    for seconds in (1.0, 12.0):
        notes = composed(notes=None, seconds=seconds)
        assert end(notes) <= tune()["onset"][-1] + seconds + 1e-6


@pytest.mark.parametrize("count", [1, 2, 25, 3000])
def test_a_seed_may_be_one_note_or_longer_than_the_context(count):
    seed = tune(count)
    notes = COMPOSER.compose([Prompt(seed=seed, valence=-1.0, guidance="cfg", notes=30)])[0]
    assert len(notes) == 30
    assert notes["onset"][0] > seed["onset"][-1]


def test_of_a_long_seed_the_end_counts():
    seed = tune(1500)
    short = seed[-1024:]
    long, end_alone = (
        COMPOSER.compose([Prompt(seed=part, valence=1.0, guidance="cfg", notes=20)])[0]
        for part in (seed, short)
    )
    np.testing.assert_array_equal(long["pitch"], end_alone["pitch"])


def test_there_is_nothing_off_the_piano_no_stub_of_a_note_and_no_hole():
    for valence in (-1.0, 1.0):
        notes = composed(notes=300, valence=valence)
        assert notes["pitch"].min() >= LOWEST_KEY
        assert notes["pitch"].max() <= HIGHEST_KEY
        assert notes["duration"].min() >= 0.02
        assert len(set(notes["velocity"])) > 5
        silent = notes["onset"][1:] - np.maximum.accumulate(notes["onset"] + notes["duration"])[:-1]
        assert silent.max() < 4


def test_a_piece_closes_on_the_chord_of_a_key_struck_together():
    notes = composed(notes=80, valence=1.0)
    close = notes[-4:]
    assert steps(close)[2:].max() < 0.03
    above_bass = set(((close["pitch"] - close["pitch"][0]) % 12).tolist())
    assert above_bass <= {0, 4, 7} or above_bass <= {0, 3, 7}
    assert close["duration"].min() > 1
    assert notes["onset"][-5] < close["onset"][0]


def test_a_temperature_of_0_is_the_same_for_every_random_seed():
    first, second = (composed(temperature=0.0, random_seed=number, guidance="none") for number in (1, 2))
    np.testing.assert_array_equal(first["pitch"], second["pitch"])


def test_modes_and_arousal_that_a_seed_checkpoint_does_not_know_are_refused():
    preset = BaselinePreset(hidden=8)
    clusters = checkpoint().clusters
    baseline_composer = BatchDecoder(
        Checkpoint(
            network=BaselineNetwork(8), preset=preset, clusters=clusters, metrics={}, fingerprint="test"
        )
    )
    with pytest.raises(RequestError, match="'cfg' needs a checkpoint of the expressive preset"):
        baseline_composer.compose([Prompt(seed=tune(), valence=1.0, guidance="cfg")])
    for asked in ({"arousal": -1.0}, {"curve": ((0, 1, -1),)}):
        with pytest.raises(RequestError, match="knows happy and sad"):
            baseline_composer.check(Prompt(seed=tune(), valence=1.0, guidance="original", **asked))
    baseline_composer.check(Prompt(seed=tune(), valence=1.0, guidance="original", arousal=1.0))


@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        (((0, 2, 0),), "must lie in -1..1"),
        (((0, 0, math.nan),), "must lie in -1..1"),
        (((-1, 0, 0),), "times start at 0"),
        (((1, 0, 0), (1, 1, 0)), "put its points in order"),
    ],
)
def test_a_curve_that_no_piece_can_follow_is_refused(curve, reason):
    with pytest.raises(RequestError, match=reason):
        Prompt(seed=tune(), valence=1.0, curve=curve)


def test_a_strength_that_is_no_number_is_refused():
    with pytest.raises(RequestError, match="strength: must be a number from 0 to 10"):
        Prompt(seed=tune(), valence=1.0, strength=math.nan)


def test_a_temperature_divides_the_logits_of_all_four_distributions():
    """A hot piece has more of every kind: pitches, velocities, bins of steps and of durations."""
    cold, hot = (composed(guidance="none", notes=200, temperature=heat) for heat in (0.05, 20.0))
    for column in ("pitch", "velocity"):
        assert len(set(hot[column])) > 1.5 * len(set(cold[column]))
    for edges, times in ((STEP_EDGES, steps), (DURATION_EDGES, lambda notes: notes["duration"])):
        few, many = (len(set(bins_of(times(notes)[:-8], edges))) for notes in (cold, hot))
        assert many > 1.5 * few


def test_the_baseline_network_composes_on_the_cpu_where_its_lstm_keeps_the_bits_of_a_row(monkeypatch):
    monkeypatch.setattr("emoray.compose.decoding.best_device", lambda: torch.device("meta"))
    preset, clusters = BaselinePreset(hidden=8), checkpoint().clusters
    decoder = BatchDecoder(
        Checkpoint(network=BaselineNetwork(8), preset=preset, clusters=clusters, metrics={}, fingerprint="")
    )
    assert decoder.network.pitch.weight.device.type == "cpu"
