import math

import numpy as np
import pytest

from emoray.compose.cadence import CADENCE_SECONDS, FINAL_SLOWING, cadence_at, cadence_pitches


def test_a_piece_of_notes_slows_down_and_ends_with_its_last_four():
    slowing = [cadence_at(count, 0.0, 0, 100, math.inf) for count in range(100)]
    assert all(found == (1.0, None) for found in slowing[:86])
    times = [found.slowing for found in slowing[86:96]]
    assert times == sorted(times)
    assert 1 <= times[0] < times[-1] < FINAL_SLOWING
    assert slowing[96].note == 0
    assert [cadence_at(96 + note, 0.0, note, 100, math.inf).note for note in (1, 2, 3)] == [1, 2, 3]


def test_a_piece_of_seconds_leaves_room_for_its_cadence():
    assert cadence_at(5, 10.0, 0, 20_000, 30.0) == (1.0, None)
    assert cadence_at(5, 30.0 - CADENCE_SECONDS, 0, 20_000, 30.0) == (FINAL_SLOWING, 0)


def test_a_few_notes_have_no_cadence():
    assert cadence_at(9, 0.0, 0, 10, math.inf) == (1.0, None)
    assert cadence_at(9, 2.9, 0, 20_000, 3.0) == (1.0, None)


@pytest.mark.parametrize("key", range(24))
def test_the_cadence_is_the_chord_of_the_key_from_the_bass_up(key):
    third = 4 if key < 12 else 3
    below = 0
    for note in range(4):
        possible = np.flatnonzero(cadence_pitches(key, note, below))
        classes = set((possible - key) % 12)
        assert classes == {0} if note == 0 else classes <= {0, third, 7}
        assert possible.min() > below
        below = int(possible.max())
