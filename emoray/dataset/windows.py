"""Windows: notes of one piece in model units, and the note that follows them.

Conventions
-----------
Model units of the baseline preset are columns (pitch / 128, step, duration): times in seconds, as the seed
document's network was trained. They change here and nowhere else. A window never crosses pieces: a flat
table holds many pieces one after the other, and only starts whose window and next note lie in one piece
are listed.

Letters: **n** notes, **N** notes of all pieces, **W** windows, **T** notes of context.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emoray.notes import N_PITCHES, Notes, as_notes, steps

COLUMNS = ("pitch", "step", "duration")
PITCH, STEP, DURATION = range(3)


def encode(notes: Notes) -> NDArray[np.float32]:
    """[n] notes to [n, 3] model units; the first step is 0."""
    return np.stack([notes["pitch"] / N_PITCHES, steps(notes), notes["duration"]], axis=1).astype(np.float32)


def decode(x: NDArray[np.float32], velocity: int) -> Notes:
    """[n, 3] model units to [n] notes of one velocity: the baseline preset knows none."""
    onset = np.cumsum(x[:, STEP].astype(np.float64))
    pitch = np.rint(x[:, PITCH] * N_PITCHES)
    return as_notes(onset, x[:, DURATION], pitch, np.full(len(x), velocity))


def flatten(pieces: Sequence[Notes]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Many pieces to one table [N, 3] in model units and their lengths [pieces]."""
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    table = (
        np.concatenate([encode(piece) for piece in pieces]) if len(pieces) else np.empty((0, 3), np.float32)
    )
    return table, lengths


def window_starts(lengths: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """[W] rows at which a window of ``window`` notes and the note after it lie within one piece.

    >>> window_starts(np.array([4, 2, 3]), 2).tolist()
    [0, 1, 6]
    """
    first = np.cumsum(lengths) - lengths
    counts = np.maximum(lengths - window, 0)
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(first, counts) + offset


def windows_at(
    table: NDArray[np.float32], starts: NDArray[np.int64], window: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Windows x [W, T, 3] and the notes after them y [W, 3], both in model units."""
    x = table[starts[:, None] + np.arange(window)]
    return x, table[starts + window]
