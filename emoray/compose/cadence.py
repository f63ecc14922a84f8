"""Ending: the last notes of a piece slow down and close on the chord of its key.

Conventions
-----------
Times are scaled as they are heard, never as the network sees them. The close is four notes: a bass note on
the tonic, then a chord above it, struck together. Which notes of the key they are is left to the network.

Letters: **B** rows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CHORD = 4
"""Notes of the close."""
FEWEST_NOTES, FEWEST_SECONDS = 24, 8.0
"""A shorter piece has no room for an ending."""
SLOWING_NOTES, SLOWING_SECONDS = 10, 4.0
"""Over which it slows down, before the close."""
CLOSE_SECONDS = 2.5
"""How long the close sounds."""
SLOWEST = 1.6
"""Times the predicted step, right before the close."""
TOGETHER = 0.02
"""Seconds between the notes of the chord, at most."""
DEEPEST, HIGHEST_BASS, HIGHEST = 33, 55, 84


class Closing(NamedTuple):
    """Where a piece stands in its ending."""

    slowing: float
    """Times the predicted step."""
    chord: int | None
    """Which note of the close is next; None before it."""


def closing(composed: int, clock: float, chord: int, notes: int, seconds: float) -> Closing:
    """The ending of a piece of ``notes`` notes or ``seconds`` seconds, whichever comes first.

    Args:
        composed: notes so far.
        clock: seconds so far.
        chord: notes of the close so far; once begun, it goes on.
        notes: where it ends.
        seconds: where it ends; may be infinite.
    """
    if chord:
        return Closing(1.0, chord)
    left = math.inf
    if notes >= FEWEST_NOTES:
        if composed >= notes - CHORD:
            return Closing(SLOWEST, 0)
        left = min(left, (notes - CHORD - composed) / SLOWING_NOTES)
    if FEWEST_SECONDS <= seconds < math.inf:
        if clock >= seconds - CLOSE_SECONDS:
            return Closing(SLOWEST, 0)
        left = min(left, (seconds - CLOSE_SECONDS - clock) / SLOWING_SECONDS)
    return Closing(1 + (SLOWEST - 1) * max(0.0, 1 - left) ** 2, None)


def chord_pitches(key: int, chord: int, below: int) -> NDArray[np.bool_]:
    """[128] pitches that the close may take next; ``below`` is its note before."""
    pitch = np.arange(128)
    above_tonic = (pitch - key) % 12
    if chord == 0:
        return (above_tonic == 0) & (pitch >= DEEPEST) & (pitch <= HIGHEST_BASS)
    triad = np.isin(above_tonic, (0, 4 if key < 12 else 3, 7))
    possible = triad & (pitch > below) & (pitch <= max(below + 12, 60)) & (pitch <= HIGHEST)
    return possible if possible.any() else triad & (pitch > below) & (pitch <= below + 12)
