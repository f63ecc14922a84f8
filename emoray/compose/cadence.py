"""Cadence: the last notes of a piece slow down and close on the chord of its key.

Conventions
-----------
Times are scaled in the music that is written, never in what the network reads. A cadence is four notes: a
bass note on the tonic, then a chord above it, struck together. Which notes of the key they are is left to the
network.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emoray.notes import N_PITCHES

CADENCE_NOTES = 4
"""Notes of a cadence."""
FEWEST_NOTES, FEWEST_SECONDS = 24, 8.0
"""A shorter piece has no room for a cadence."""
SLOWING_NOTES, SLOWING_SECONDS = 10, 4.0
"""Over how long a piece slows down before its cadence."""
CADENCE_SECONDS = 2.5
"""How long the chord of the cadence sounds."""
FINAL_SLOWING = 1.6
"""What the predicted step is multiplied by right before the cadence."""
CHORD_SPREAD = 0.02
"""Seconds between the notes of the chord, at most."""
LOWEST_BASS, HIGHEST_BASS, HIGHEST_CHORD_NOTE = 33, 55, 84
"""MIDI numbers."""


class Cadence(NamedTuple):
    """Where a piece stands on its way to the end."""

    slowing: float
    """What the predicted step is multiplied by."""
    note: int | None
    """Which note of the cadence is next, from 0; None before the cadence."""


def cadence_at(composed: int, clock: float, cadence_notes: int, notes: int, seconds: float) -> Cadence:
    """How far a piece of ``notes`` notes or ``seconds`` seconds, whichever comes first, is into its cadence.

    Args:
        composed: notes so far.
        clock: seconds so far.
        cadence_notes: notes of the cadence so far; once begun, it goes on.
        notes: where the piece ends.
        seconds: where the piece ends; may be infinite.
    """
    if cadence_notes:
        return Cadence(1.0, cadence_notes)
    left = math.inf
    if notes >= FEWEST_NOTES:
        if composed >= notes - CADENCE_NOTES:
            return Cadence(FINAL_SLOWING, 0)
        left = min(left, (notes - CADENCE_NOTES - composed) / SLOWING_NOTES)
    if FEWEST_SECONDS <= seconds < math.inf:
        if clock >= seconds - CADENCE_SECONDS:
            return Cadence(FINAL_SLOWING, 0)
        left = min(left, (seconds - CADENCE_SECONDS - clock) / SLOWING_SECONDS)
    return Cadence(1 + (FINAL_SLOWING - 1) * max(0.0, 1 - left) ** 2, None)


def cadence_pitches(key: int, note: int, below: int) -> NDArray[np.bool_]:
    """[128] pitches that a note of the cadence may have; ``below`` is the pitch of the note before it."""
    pitch = np.arange(N_PITCHES)
    above_tonic = (pitch - key) % 12
    if note == 0:
        return (above_tonic == 0) & (pitch >= LOWEST_BASS) & (pitch <= HIGHEST_BASS)
    triad = np.isin(above_tonic, (0, 4 if key < 12 else 3, 7))
    possible = triad & (pitch > below) & (pitch <= max(below + 12, 60)) & (pitch <= HIGHEST_CHORD_NOTE)
    return possible if possible.any() else triad & (pitch > below) & (pitch <= below + 12)
