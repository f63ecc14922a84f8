import math

import numpy as np
import pytest

from emoray.dataset.attributes import GROUPS, N_ATTRIBUTES, STANDARD, attributes_ahead
from emoray.notes import as_notes

TRIAD = as_notes([0, 0.5, 1.0, 2.0], [0.5, 0.5, 1.0, 2.0], [60, 64, 67, 72], [40, 60, 80, 100])
PROFILE, DENSITY, DURATION, REGISTER, VELOCITY = GROUPS.values()


def standard(name, value):
    centre, spread = STANDARD[name]
    return pytest.approx(np.clip((value - centre) / spread, -4, 4), abs=1e-6)


def random_piece(count=60):
    generator = np.random.default_rng(1)
    return as_notes(
        np.cumsum(generator.exponential(0.2, count)), generator.exponential(0.5, count) + 0.001,
        generator.integers(30, 100, count), generator.integers(1, 128, count),
    )  # fmt: skip


def test_attributes_of_four_notes_are_what_a_person_would_count():
    """C E G C in two seconds: half the notes are Cs, so 12 x 1/2 - 1 = 5."""
    [first] = attributes_ahead(TRIAD, 4, places=1)
    expected = np.full(12, -1.0)
    expected[[0, 4, 7]] = 5, 2, 2
    np.testing.assert_allclose(first[PROFILE], expected, atol=1e-6)
    assert first[DENSITY] == standard("onset_rate", math.log(4 / 2.0))
    assert first[DURATION] == standard("duration", math.log(0.5 * 0.5 * 1.0 * 2.0) / 4)
    assert first[REGISTER] == standard("register", (60 + 64 + 67 + 72) / 4)
    assert first[VELOCITY] == standard("velocity", 70)


def test_fewer_notes_count_at_the_end_of_a_piece():
    *_, last = attributes_ahead(TRIAD, 2)
    assert last[PROFILE].tolist() == [11] + [-1] * 11
    assert last[REGISTER] == standard("register", 72)
    assert last[DENSITY] == standard("onset_rate", math.log(1 / 1.0))


def test_a_chord_is_no_infinite_density():
    chord = as_notes([0, 0, 0], [1, 1, 1], [60, 64, 67], [80, 80, 80])
    [first] = attributes_ahead(chord, 3, places=1)
    assert first[DENSITY] == standard("onset_rate", math.log(3 / 0.05))


@pytest.mark.parametrize("lookahead", [1, 7, 64])
def test_every_place_is_as_a_loop_counts_it(lookahead):
    notes = random_piece()
    before = np.diff(notes["onset"], prepend=notes["onset"][0])
    rows = attributes_ahead(notes, lookahead)
    assert rows.shape == (len(notes), N_ATTRIBUTES)
    for place, row in enumerate(rows):
        part, passed = notes[place : place + lookahead], before[place : place + lookahead].sum()
        shares = np.array([(part["pitch"] % 12 == pitch_class).mean() for pitch_class in range(12)])
        np.testing.assert_allclose(row[PROFILE], 12 * shares - 1, atol=1e-5)
        assert row[DENSITY][0] == standard("onset_rate", math.log(len(part) / max(passed, 0.05)))
        logs = np.log(np.maximum(part["duration"].astype(float), 0.01))
        means = {"duration": logs.mean()} | {
            name: part[column].mean() for name, column in (("register", "pitch"), ("velocity", "velocity"))
        }
        for name, value in means.items():
            assert row[GROUPS[name]][0] == standard(name, value)


def test_transposition_rolls_the_profile_and_moves_the_register():
    notes = random_piece()
    higher = notes.copy()
    higher["pitch"] += 3
    one, other = attributes_ahead(notes, 16), attributes_ahead(higher, 16)
    np.testing.assert_allclose(np.roll(one[:, PROFILE], 3, axis=1), other[:, PROFILE], atol=1e-5)
    np.testing.assert_allclose(other[:, REGISTER] - one[:, REGISTER], 3 / STANDARD["register"][1], atol=1e-5)
    np.testing.assert_array_equal(one[:, DENSITY], other[:, DENSITY])


def test_a_tempo_shifts_density_and_duration_by_its_logarithm():
    notes = random_piece()
    slower = notes.copy()
    slower["onset"] *= 2
    slower["duration"] *= 2
    notes, slower = notes[notes["duration"] > 0.02], slower[notes["duration"] > 0.02]
    one, other = attributes_ahead(notes, 16)[:40], attributes_ahead(slower, 16)[:40]
    for name, shift in (("onset_rate", -math.log(2)), ("duration", math.log(2))):
        moved = (other - one)[:, GROUPS[name]] * STANDARD[name][1]
        np.testing.assert_allclose(moved, shift, atol=1e-4)
    np.testing.assert_array_equal(one[:, PROFILE], other[:, PROFILE])


def test_groups_cover_every_column_once():
    columns = [column for part in GROUPS.values() for column in range(part.start, part.stop)]
    assert columns == list(range(N_ATTRIBUTES))
