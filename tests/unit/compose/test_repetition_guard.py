import numpy as np
from emoray.compose.repetition_guard import LONGEST_RUN, RECENT, looping


def after(*pitches):
    row = np.full((1, RECENT), -1)
    if pitches:
        row[0, -len(pitches) :] = pitches
    return np.flatnonzero(looping(row)[0]).tolist()


def test_a_pitch_may_be_repeated_but_not_for_ever():
    assert after(*[60] * (LONGEST_RUN - 1)) == []
    assert after(*[60] * LONGEST_RUN) == [60]


def test_a_figure_may_sound_four_times_and_then_has_to_move():
    figure = [60, 67, 64, 67]
    assert after(*figure * 3) == []
    assert after(62, *figure * 4) == [60]
    assert after(*figure * 3, 60, 67, 65, 67) == []


def test_music_that_does_not_repeat_is_left_alone():
    assert after() == []
    assert after(*range(40, 40 + RECENT)) == []
