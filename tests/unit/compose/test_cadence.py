import math

import numpy as np
import pytest

from emoray.compose.cadence import CLOSE_SECONDS, SLOWEST, chord_pitches, closing


def test_a_piece_of_notes_slows_down_and_closes_with_its_last_four():
    slowing = [closing(count, 0.0, 0, 100, math.inf) for count in range(100)]
    assert all(found == (1.0, None) for found in slowing[:86])
    times = [found.slowing for found in slowing[86:96]]
    assert times == sorted(times)
    assert 1 <= times[0] < times[-1] < SLOWEST
    assert slowing[96].chord == 0
    assert [closing(96 + chord, 0.0, chord, 100, math.inf).chord for chord in (1, 2, 3)] == [1, 2, 3]


def test_a_piece_of_seconds_leaves_room_for_its_close():
    assert closing(5, 10.0, 0, 20_000, 30.0) == (1.0, None)
    assert closing(5, 30.0 - CLOSE_SECONDS, 0, 20_000, 30.0) == (SLOWEST, 0)


def test_a_few_notes_have_no_ending():
    assert closing(9, 0.0, 0, 10, math.inf) == (1.0, None)
    assert closing(9, 2.9, 0, 20_000, 3.0) == (1.0, None)


@pytest.mark.parametrize("key", range(24))
def test_the_close_is_the_chord_of_the_key_from_the_bass_up(key):
    third = 4 if key < 12 else 3
    below = 0
    for chord in range(4):
        possible = np.flatnonzero(chord_pitches(key, chord, below))
        classes = set((possible - key) % 12)
        assert classes == {0} if chord == 0 else classes <= {0, third, 7}
        assert possible.min() > below
        below = int(possible.max())
