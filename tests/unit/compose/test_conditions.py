import numpy as np
import pytest

from emoray.compose.conditions import (
    FURTHEST,
    RAMP,
    achieved,
    fitted_map,
    key_profile,
    steered,
    target,
    target_key,
)
from emoray.dataset.attributes import GROUPS, N_ATTRIBUTES, attributes_ahead
from emoray.dataset.keys import key_of, pitch_classes
from emoray.notes import as_notes, steps

C_MAJOR = pitch_classes(np.array([60, 62, 64, 65, 67, 69, 71, 72, 67, 64, 60, 48]))
A_MINOR = pitch_classes(np.array([57, 59, 60, 62, 64, 65, 68, 69, 64, 60, 57, 45]))


def own(profile):
    attributes = np.zeros(N_ATTRIBUTES, np.float32)
    attributes[:12] = 12 * profile - 1
    return attributes


def test_happy_keeps_a_major_key_or_goes_to_the_relative_major():
    assert target_key(C_MAJOR, 1.0) == 0
    assert target_key(A_MINOR, 1.0) == 0


def test_sad_keeps_a_minor_key_or_goes_to_the_parallel_minor():
    assert target_key(C_MAJOR, -1.0) == 12
    assert target_key(A_MINOR, -1.0) == 12 + 9


def test_no_valence_keeps_the_key_and_no_emotion_keeps_everything():
    assert target_key(C_MAJOR, 0.0) == 0
    np.testing.assert_allclose(target(own(C_MAJOR), 0.0, 0.0, fitted_map()), own(C_MAJOR), atol=1e-6)


def test_a_target_profile_is_in_its_key_and_as_various_as_what_pianists_play():
    for key in range(24):
        profile = key_profile(key, fitted_map())
        assert key_of(profile) == key
        assert profile.sum() == pytest.approx(1)
        assert -(profile * np.log2(profile)).sum() > 2.7  # bits; half of MAESTRO's 64-note windows have 2.86


def test_arousal_makes_it_faster_shorter_and_louder_and_leaves_the_key():
    calm, excited = (target(own(C_MAJOR), 0.0, arousal, fitted_map()) for arousal in (-1.0, 1.0))
    change = {name: float((excited - calm)[part].mean()) for name, part in GROUPS.items()}
    assert change["onset_rate"] > 1
    assert change["duration"] < -0.5
    assert change["velocity"] > 0.5
    np.testing.assert_allclose(excited[:12], calm[:12])


def test_valence_lifts_the_register():
    low, high = (target(own(C_MAJOR), valence, 0.0, fitted_map())[GROUPS["register"]] for valence in (-1, 1))
    assert high - low == pytest.approx(2 * fitted_map().register)


def test_targets_stay_where_the_network_has_been():
    extreme = own(C_MAJOR)
    extreme[12:] = (4, -4, 4, 4)
    assert np.abs(target(extreme, 1.0, 1.0, fitted_map())[12:]).max() <= FURTHEST


def test_half_a_valence_goes_half_the_way():
    start, half, whole = (target(own(C_MAJOR), valence, 0.0, fitted_map()) for valence in (0.0, -0.5, -1.0))
    np.testing.assert_allclose(half - start, (whole - start) / 2, atol=1e-5)


WINDOW = 16


def tune(count=40, random_seed=0):
    generator = np.random.default_rng(random_seed)
    onset = np.cumsum(generator.uniform(0.05, 0.4, count))
    return as_notes(onset, generator.uniform(0.1, 0.6, count), generator.integers(40, 90, count),
                    generator.integers(40, 100, count))  # fmt: skip


def as_played(notes):
    return np.stack([notes["pitch"], steps(notes), notes["duration"], notes["velocity"]], axis=1)[-WINDOW:]


def attributes(profile=None, rest=0.0):
    found = np.full(N_ATTRIBUTES, rest, np.float32)
    found[:12] = 0 if profile is None else 12 * np.array(profile) / np.sum(profile) - 1
    return found[None]


def test_what_was_played_is_measured_as_conditions_were_in_training():
    """By a loop over the same notes; the step into the first of them counts as well."""
    rows = [as_played(tune(random_seed=seed)) for seed in range(3)]
    count = np.array([WINDOW, 7, 0])
    found = achieved(np.stack(rows), count)
    for row, length, attributes_found in zip(rows, (WINDOW, 7, 1), found, strict=True):
        some = row[-length:]
        again = as_notes(np.cumsum(some[:, 1]), some[:, 2], some[:, 0], some[:, 3])
        [expected] = attributes_ahead(again, length, 1)
        onset_rate = np.log(length / some[:, 1].sum())
        np.testing.assert_allclose(np.delete(attributes_found, 12), np.delete(expected, 12), atol=1e-5)
        assert attributes_found[12] == pytest.approx((onset_rate - 2.49) / 0.55, abs=1e-4)


def test_a_sequence_is_measured_alike_in_any_batch():
    rows = np.stack([as_played(tune(random_seed=seed)) for seed in range(5)])
    count = np.array([16, 3, 9, 1, 12])
    together = achieved(rows, count)
    alone = np.concatenate([achieved(rows[[row]], count[[row]]) for row in range(5)])
    assert together.tobytes() == alone.tobytes()


def test_the_music_leaves_the_seed_step_by_step():
    own, aimed = attributes(rest=-1.0), attributes(rest=1.0)
    asked = [steered(own, aimed, aimed, np.array([count]), WINDOW)[0, 13] for count in range(RAMP + 2)]
    assert asked[0] == pytest.approx(-1 + 2 / RAMP)
    assert np.all(np.diff(asked[:RAMP]) > 0)
    assert asked[RAMP] == pytest.approx(1.0)


def test_a_pitch_class_that_was_played_too_often_is_asked_for_less():
    aimed = attributes([1] * 6 + [0] * 6)
    droning = attributes([5, 1, 1, 1, 1, 1] + [0] * 6)
    asked = steered(aimed, aimed, droning, np.array([WINDOW]), WINDOW)[0, GROUPS["profile"]]
    assert asked[0] < aimed[0, 0] < asked[1]
    assert ((asked + 1) / 12).sum() == pytest.approx(1)
    assert asked.min() >= -1


def test_an_achieved_target_is_the_condition_and_early_notes_say_little():
    own, aimed, found = attributes(), attributes(rest=1.0), attributes(rest=0.0)
    arrived = steered(own, aimed, aimed, np.array([99]), WINDOW)
    np.testing.assert_allclose(arrived, aimed, atol=1e-6)
    early, late = (steered(aimed, aimed, found, np.array([count]), WINDOW)[0, 13] for count in (1, WINDOW))
    assert 1 < early < late


def test_the_condition_stays_where_the_network_has_been():
    asked = steered(attributes(rest=2.0), attributes(rest=2.0), attributes(rest=-4.0), np.array([99]), WINDOW)
    assert np.abs(asked[0, 12:]).max() <= FURTHEST
