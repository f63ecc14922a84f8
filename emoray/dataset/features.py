"""Features: nine numbers that the original system clusters music by.

Conventions
-----------
One row is one window of one piece: mean, maximum and standard deviation (population) of step, duration
and pitch, in that order; seconds and MIDI numbers. A step belongs to its note, so a window's first step
reaches back to the note before the window.

Letters: **n** notes, **W** windows.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from emoray.notes import Notes, steps

FEATURES = tuple(
    f"{statistic}_{column}"
    for column in ("step", "duration", "pitch")
    for statistic in ("mean", "max", "std")
)
TIME_FEATURES = np.array([not name.endswith("pitch") for name in FEATURES])
"""[9] which of them are seconds."""


def window_features(notes: Notes, length: int, stride: int | None = None) -> NDArray[np.float32]:
    """[W, 9] features of windows of ``length`` notes, ``stride`` apart (by default end to end).

    A piece shorter than one window is one window of what there is; no notes give no rows.
    """
    if not len(notes):
        return np.empty((0, len(FEATURES)), np.float32)
    length = min(length, len(notes))
    columns = (steps(notes), notes["duration"].astype(np.float64), notes["pitch"].astype(np.float64))
    rows: list[NDArray[np.float64]] = []
    for column in columns:
        windows = sliding_window_view(column, length)[:: stride or length]
        rows += [windows.mean(axis=1), windows.max(axis=1), windows.std(axis=1)]
    return np.stack(rows, axis=1).astype(np.float32)
