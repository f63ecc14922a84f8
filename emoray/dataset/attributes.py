"""Attributes: what carries emotion and can be measured on any music, note by note, in network units.

Conventions
-----------
The attributes of a place in a piece are those of the ``lookahead`` notes from there on: they say what is
about to be played, so a network whose condition they are learns to play it. Columns, ``[n, 16]`` float32:

- ``profile`` (12): how often each pitch class is struck, C first; 12 x share - 1, so that even is 0.
- ``onset_rate``: natural logarithm of onsets a second; each note of a chord counts.
- ``duration``: mean natural logarithm of sounding seconds: articulation.
- ``register``: mean pitch. ``velocity``: mean velocity.

The last four are standardised with the mean and deviation of MAESTRO's training pieces (``STANDARD``). Groups
(``GROUPS``) can be left out one by one: a condition has a column for each group that says whether it is
given.

Sources: EmotionBox (pitch-class profile and note density as conditions), Performance RNN (the same, over
time).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from emoray.notes import Notes, steps

GROUPS: dict[str, slice] = {
    "profile": slice(0, 12),
    "onset_rate": slice(12, 13),
    "duration": slice(13, 14),
    "register": slice(14, 15),
    "velocity": slice(15, 16),
}
N_ATTRIBUTES = 16
STANDARD: dict[str, tuple[float, float]] = {
    "onset_rate": (2.49, 0.55),
    "duration": (-1.39, 0.85),
    "register": (64.0, 7.3),
    "velocity": (64.5, 12.9),
}
"""Mean and standard deviation in music's units."""
SHORTEST_SPAN = 0.05
"""Seconds: a window of one chord counts as this long."""

Attributes = NDArray[np.float32]


def attributes_ahead(notes: Notes, lookahead: int, places: int | None = None) -> Attributes:
    """[places, 16] attributes of the ``lookahead`` notes from each place on (fewer at the end of a piece).

    Args:
        notes: [n].
        lookahead: notes to look at.
        places: how many, from the first note on; None is all n.
    """
    n = len(notes)
    first = np.arange(n if places is None else min(places, n))
    last = np.minimum(first + lookahead, n)
    count = (last - first).astype(np.float64)

    def mean(column: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.concatenate([np.zeros((1, *column.shape[1:])), np.cumsum(column, axis=0)])
        return (total[last] - total[first]) / count.reshape(-1, *[1] * (column.ndim - 1))

    struck = np.zeros((n, 12))
    struck[np.arange(n), notes["pitch"] % 12] = 1
    step = steps(notes)
    passed = np.maximum(mean(step) * count, SHORTEST_SPAN)
    music = {
        "onset_rate": np.log(count / passed),
        "duration": mean(np.log(np.maximum(notes["duration"].astype(np.float64), 0.01))),
        "register": mean(notes["pitch"].astype(np.float64)),
        "velocity": mean(notes["velocity"].astype(np.float64)),
    }
    return np.concatenate([12 * mean(struck) - 1, standardised(music)], axis=1).astype(np.float32)


def standardised(music: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """[n] each of ``STANDARD``, in music's units, to [n, 4] in network units, no further out than 4."""
    columns = [(music[name] - centre) / spread for name, (centre, spread) in STANDARD.items()]
    return np.clip(np.stack(columns, axis=1), -4, 4)
