"""Memorisation: the longest stretch of a piece that stands note for note in the training pieces.

Conventions
-----------
A note is (pitch, step in cells of 20 ms); a stretch of N notes is compared as N pitches and the N - 1 steps
between them. Found by hashes of stretches: for each length the hashes of all training stretches are sorted,
and lengths are searched by bisection, because every part of a known stretch is known.

Letters: **n** notes of a piece, **N** notes of all training pieces, **L** length of a stretch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emoray.notes import Notes, steps

CELL = 0.02
"""Seconds."""
LONGEST = 256
"""Notes: longer stretches are not told apart."""
BASE = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that powers of it differ modulo 2**64."""

Words = NDArray[np.uint64]


class Training:
    """Stretches of the training pieces."""

    def __init__(self, pieces: Sequence[Notes]) -> None:
        self.pieces = [pitches_and_steps(notes) for notes in pieces]
        self._sorted: dict[int, Words] = {}

    @cached_property
    def longest_piece(self) -> int:
        """Notes."""
        return max((len(pitch) for pitch, _ in self.pieces), default=0)

    def stretches(self, length: int) -> Words:
        """Sorted hashes of all stretches of a length."""
        if length not in self._sorted:
            found = [hashes(*piece, length) for piece in self.pieces]
            self._sorted[length] = np.sort(np.concatenate([np.empty(0, np.uint64), *found]))
        return self._sorted[length]

    def longest_shared(self, notes: Notes) -> int:
        """Notes of the longest stretch of a piece that is also in a training piece; 0 if none is."""
        piece = pitches_and_steps(notes)
        low, high = 0, min(len(notes), self.longest_piece, LONGEST)
        while low < high:
            middle = (low + high + 1) // 2
            if self._knows(hashes(*piece, middle), middle):
                low = middle
            else:
                high = middle - 1
        return low

    def _knows(self, found: Words, length: int) -> bool:
        known = self.stretches(length)
        place = np.minimum(np.searchsorted(known, found), len(known) - 1)
        return bool(len(known) and (known[place] == found).any())


def pitches_and_steps(notes: Notes) -> tuple[Words, Words]:
    """[n] pitches and [n] steps in cells."""
    return notes["pitch"].astype(np.uint64), np.rint(steps(notes) / CELL).astype(np.uint64)


def hashes(pitch: Words, step: Words, length: int) -> Words:
    """[n - L + 1] a hash of each stretch; the step before its first note is no part of it.

    >>> pitch, step = np.array([60, 62, 60, 62], np.uint64), np.array([0, 5, 9, 5], np.uint64)
    >>> one, _, other = hashes(pitch, step, 2).tolist()
    >>> one == other
    True
    """
    if len(pitch) < length:
        return np.empty(0, np.uint64)
    places = len(pitch) - length + 1
    total = np.zeros(places, np.uint64)
    for offset in range(length):
        word = pitch[offset : offset + places] + np.uint64(1)
        if offset:
            word = word + (step[offset : offset + places] + np.uint64(1)) * np.uint64(131)
        total = (total ^ _stirred(word)) * BASE
    return total


def _stirred(word: Words) -> Words:
    """Every bit of a number into all bits of another (the finaliser of SplitMix64, Steele et al. 2014)."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
