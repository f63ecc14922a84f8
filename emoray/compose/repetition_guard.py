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


_TIMES = np.array([LONGEST_RUN, *[CYCLES] * (LONGEST_FIGURE - 1)])
_PERIOD, _PLACE = np.mgrid[1 : LONGEST_FIGURE + 1, :RECENT]
_LOOKED_AT = RECENT - (_TIMES[:, None] - 1) * _PERIOD <= _PLACE
"""[periods, n] places that have to be as they were a period before."""
_FIRST = RECENT - _TIMES * np.arange(1, LONGEST_FIGURE + 1)
"""[periods] where a figure of each period would have begun."""
_BEFORE = np.maximum(_PLACE - _PERIOD, 0)


def looping(recent: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[B, n] recent pitches to the pitches [B, 128] that would go on with a loop; n is ``RECENT``."""
    banned = np.zeros((len(recent), 128), np.bool_)
    alike = (recent[:, None, :] == recent[:, _BEFORE]) | ~_LOOKED_AT
    rows, periods = np.nonzero(alike.all(axis=2) & (recent[:, _FIRST] >= 0))
    banned[rows, recent[rows, RECENT - 1 - periods]] = True
    return banned
