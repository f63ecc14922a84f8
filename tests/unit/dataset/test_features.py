import numpy as np

from emoray.dataset.clusters import FEATURES, window_features
from emoray.notes import as_notes


def test_nine_features_by_hand():
    notes = as_notes([0.0, 1.0, 1.5, 3.5], [1, 2, 3, 6], [60, 64, 62, 70], [80] * 4)
    [row] = window_features(notes, 4)
    named = dict(zip(FEATURES, row.tolist(), strict=True))
    assert named["mean_step"] == 0.875  # (0 + 1 + .5 + 2) / 4
    assert named["max_step"] == 2.0
    assert abs(named["std_step"] - np.sqrt(0.546875)) < 1e-6
    assert (named["mean_duration"], named["max_duration"]) == (3.0, 6.0)
    assert abs(named["std_duration"] - np.sqrt(3.5)) < 1e-6
    assert (named["mean_pitch"], named["max_pitch"]) == (64.0, 70.0)
    assert abs(named["std_pitch"] - np.sqrt(14.0)) < 1e-6


def test_windows_lie_end_to_end_or_a_stride_apart_and_leave_the_rest_out():
    notes = as_notes(np.arange(10.0), np.ones(10), np.arange(60, 70), [80] * 10)
    assert window_features(notes, 4)[:, FEATURES.index("max_pitch")].tolist() == [63, 67]
    assert window_features(notes, 4, stride=3)[:, FEATURES.index("max_pitch")].tolist() == [63, 66, 69]


def test_a_windows_first_step_reaches_back_into_the_piece():
    notes = as_notes([0.0, 5.0, 6.0], [1, 1, 1], [60, 60, 60], [80] * 3)
    assert window_features(notes, 2, stride=1)[:, FEATURES.index("max_step")].tolist() == [5.0, 5.0]


def test_a_short_piece_is_one_window_and_an_empty_one_is_none():
    notes = as_notes([0.0, 1.0], [1, 1], [60, 62], [80, 80])
    assert window_features(notes, 26).shape == (1, 9)
    assert window_features(notes[:0], 26).shape == (0, 9)
