"""Repetition: pitches that would turn music into a loop.

Conventions
-----------
A pitch that has been struck ``LONGEST_RUN`` times in a row may not be struck again (1 in 100 windows of
MAESTRO has a longer run). A figure of up to ``LONGEST_FIGURE`` notes that has sounded ``CYCLES`` times in a
row may not go on: accompaniments repeat, but a network that repeats itself that often never leaves.

Letters: **B** rows, **n** recent pitches, oldest first, -1 where there is none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LONGEST_RUN = 5
LONGEST_FIGURE = 12
CYCLES = 4
RECENT = LONGEST_FIGURE * CYCLES
"""Pitches that are looked at."""


def looping(recent: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[B, n] recent pitches to the pitches [B, 128] that would go on with a loop; n is ``RECENT``."""
    banned = np.zeros((len(recent), 128), np.bool_)
    for period in range(1, LONGEST_FIGURE + 1):
        cycles = LONGEST_RUN if period == 1 else CYCLES
        span = recent[:, -cycles * period :]
        loops = (span[:, period:] == span[:, :-period]).all(axis=1) & (span[:, 0] >= 0)
        banned[np.flatnonzero(loops), recent[loops, -period]] = True
    return banned
