import numpy as np
import pytest
from emoray.compose.steering import RAMP, played, steered
from emoray.compose.targets import FURTHEST

from emoray.dataset.attributes import GROUPS, N_ATTRIBUTES, attributes_ahead
from emoray.notes import as_notes, steps

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


def test_what_was_played_is_measured_as_the_network_was_trained_to_hear_it():
    """By a loop over the same notes; the step into the first of them counts as well."""
    rows = [as_played(tune(random_seed=seed)) for seed in range(3)]
    count = np.array([WINDOW, 7, 0])
    found = played(np.stack(rows), count)
    for row, length, attributes_found in zip(rows, (WINDOW, 7, 1), found, strict=True):
        some = row[-length:]
        again = as_notes(np.cumsum(some[:, 1]), some[:, 2], some[:, 0], some[:, 3])
        [expected] = attributes_ahead(again, length, 1)
        density = np.log(length / some[:, 1].sum())
        np.testing.assert_allclose(np.delete(attributes_found, 12), np.delete(expected, 12), atol=1e-5)
        assert attributes_found[12] == pytest.approx((density - 2.49) / 0.55, abs=1e-4)


def test_a_row_is_measured_alike_in_any_company():
    rows = np.stack([as_played(tune(random_seed=seed)) for seed in range(5)])
    count = np.array([16, 3, 9, 1, 12])
    together = played(rows, count)
    alone = np.concatenate([played(rows[[row]], count[[row]]) for row in range(5)])
    assert together.tobytes() == alone.tobytes()


def test_the_music_leaves_the_seed_step_by_step():
    own, aimed = attributes(rest=-1.0), attributes(rest=1.0)
    told = [steered(own, aimed, aimed, np.array([count]), WINDOW)[0, 13] for count in range(RAMP + 2)]
    assert told[0] == pytest.approx(-1 + 2 / RAMP)
    assert np.all(np.diff(told[:RAMP]) > 0)
    assert told[RAMP] == pytest.approx(1.0)


def test_a_pitch_class_that_was_played_too_often_is_asked_for_less():
    aimed = attributes([1] * 6 + [0] * 6)
    droning = attributes([5, 1, 1, 1, 1, 1] + [0] * 6)
    told = steered(aimed, aimed, droning, np.array([WINDOW]), WINDOW)[0, GROUPS["profile"]]
    assert told[0] < aimed[0, 0] < told[1]
    assert ((told + 1) / 12).sum() == pytest.approx(1)
    assert told.min() >= -1


def test_what_has_arrived_is_told_as_it_is_and_early_notes_say_little():
    own, aimed, achieved = attributes(), attributes(rest=1.0), attributes(rest=0.0)
    arrived = steered(own, aimed, aimed, np.array([99]), WINDOW)
    np.testing.assert_allclose(arrived, aimed, atol=1e-6)
    early, late = (steered(aimed, aimed, achieved, np.array([count]), WINDOW)[0, 13] for count in (1, WINDOW))
    assert 1 < early < late


def test_what_is_told_stays_where_the_network_has_been():
    told = steered(attributes(rest=2.0), attributes(rest=2.0), attributes(rest=-4.0), np.array([99]), WINDOW)
    assert np.abs(told[0, 12:]).max() <= FURTHEST
