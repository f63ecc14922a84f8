"""Memorisation: the longest sequence of notes that a piece shares with the training pieces.

Conventions
-----------
A note is its pitch and its step in cells of 20 ms; a sequence of L notes is L pitches and the L - 1 steps
between them. The hashes of all training sequences of a length are sorted, and the length is searched by
bisection, because every part of a shared sequence is shared.

Letters: **n** notes of a piece, **L** length of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emoray.notes import Notes, steps

STEP_CELL = 0.02
"""Seconds."""
MAX_SHARED = 256
"""Notes; a longer shared sequence counts as this long."""
HASH_BASE = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that powers of it differ modulo 2**64."""

Words = NDArray[np.uint64]


class TrainingSequences:
    """The sequences of notes in the training pieces."""

    def __init__(self, pieces: Sequence[Notes]) -> None:
        self.pieces = [pitches_and_steps(notes) for notes in pieces]
        self._sorted: dict[int, Words] = {}

    @cached_property
    def longest_piece(self) -> int:
        """Notes."""
        return max((len(pitch) for pitch, _ in self.pieces), default=0)

    def hashes_of_length(self, length: int) -> Words:
        """Sorted hashes of all sequences of a length."""
        if length not in self._sorted:
            found = [hashes(*piece, length) for piece in self.pieces]
            self._sorted[length] = np.sort(np.concatenate([np.empty(0, np.uint64), *found]))
        return self._sorted[length]

    def longest_shared(self, notes: Notes) -> int:
        """Length of the longest sequence of a piece that is also in a training piece; 0 if there is none."""
        piece = pitches_and_steps(notes)
        low, high = 0, min(len(notes), self.longest_piece, MAX_SHARED)
        while low < high:
            middle = (low + high + 1) // 2
            if self._contains(hashes(*piece, middle), middle):
                low = middle
            else:
                high = middle - 1
        return low

    def _contains(self, found: Words, length: int) -> bool:
        known = self.hashes_of_length(length)
        index = np.minimum(np.searchsorted(known, found), len(known) - 1)
        return bool(len(known) and (known[index] == found).any())


def pitches_and_steps(notes: Notes) -> tuple[Words, Words]:
    """[n] pitches and [n] steps in cells."""
    return notes["pitch"].astype(np.uint64), np.rint(steps(notes) / STEP_CELL).astype(np.uint64)


def hashes(pitch: Words, step: Words, length: int) -> Words:
    """[n - L + 1] a hash of each sequence, without the step before its first note.

    >>> pitch, step = np.array([60, 62, 60, 62], np.uint64), np.array([0, 5, 9, 5], np.uint64)
    >>> one, _, other = hashes(pitch, step, 2).tolist()
    >>> one == other
    True
    """
    if len(pitch) < length:
        return np.empty(0, np.uint64)
    count = len(pitch) - length + 1
    total = np.zeros(count, np.uint64)
    for offset in range(length):
        word = pitch[offset : offset + count] + np.uint64(1)
        if offset:
            word = word + (step[offset : offset + count] + np.uint64(1)) * np.uint64(131)
        total = (total ^ _mixed(word)) * HASH_BASE
    return total


def _mixed(word: Words) -> Words:
    """Mix the bits of each number (the finaliser of SplitMix64, Steele et al. 2014)."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
