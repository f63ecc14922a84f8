"""Row: a request while it is being composed, and the notes it becomes.

Conventions
-----------
``clock`` and ``composed`` are as heard: seconds after the seed's last onset, scaled by emotion and ending.
What the network sees is the decoder's business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from emoray.compose.cadence import CHORD
from emoray.notes import SHORTEST, Notes, as_notes, starting_at
from emoray.request import Prompt

MOST_NOTES_A_SECOND = 40
"""Ends a request in seconds even if the network stands still; real pieces stay under it."""


class Composed(NamedTuple):
    """A composed piece."""

    notes: Notes
    divergence: float
    """Kullback-Leibler divergence of what was drawn from, from the network's own: nats a note."""


@dataclass(eq=False)
class DecoderState:
    """A request in the batch."""

    index: int
    """Where its notes belong in the answer."""
    prompt: Prompt
    generator: np.random.Generator
    clock: float = 0.0
    """Seconds since the seed's last onset."""
    chord: int = 0
    """Notes of the close so far."""
    divergence: float = 0.0
    """Nats that guidance has moved its notes' distributions from the network's own, summed over notes."""
    cancelled: bool = False
    """Nobody waits for it any more."""
    composed: list[tuple[float, float, int, int]] = field(default_factory=list)
    """(onset after the seed's last, duration, pitch, velocity) of each note."""

    @cached_property
    def mode(self) -> str:
        """The guidance mode in effect: a strength of 0, or no emotion at all, is none."""
        asked = self.prompt
        felt = any(asked.emotion_at(0.0)) or any(v or a for _, v, a in asked.curve)
        return asked.guidance if asked.strength and felt else "none"

    @cached_property
    def length(self) -> tuple[int, float]:
        """(most notes, most seconds)."""
        notes, seconds = self.prompt.length
        most = min(notes, math.ceil(seconds * MOST_NOTES_A_SECOND)) if seconds < math.inf else notes
        return most, seconds

    @property
    def emotion(self) -> tuple[float, float]:
        """(valence, arousal) now."""
        return self.prompt.emotion_at(self.clock) if self.prompt.curve else self._level

    @cached_property
    def _level(self) -> tuple[float, float]:
        return self.prompt.emotion_at(0.0)

    def hear(self, step: float, duration: float, pitch: int, velocity: int) -> None:
        """Take in a composed note, times as they are heard."""
        if not self.composed:
            step = max(step, SHORTEST)  # composed notes come after the seed's last, in any file format
        self.clock += step
        self.composed.append((self.clock, max(SHORTEST, duration), pitch, velocity))

    @property
    def is_over(self) -> bool:
        """Whether its last note is composed, or nobody wants another."""
        notes, seconds = self.length
        return self.cancelled or len(self.composed) >= notes or self.clock >= seconds or self.chord >= CHORD

    @property
    def piece(self) -> Composed:
        """What has become of the request."""
        return Composed(self.notes(), self.divergence / max(len(self.composed), 1))

    def notes(self) -> Notes:
        """The composed notes; those past the asked seconds are left out, but for the first."""
        _, seconds = self.prompt.length
        kept = [note for note in self.composed if note[0] < seconds] or [(SHORTEST, *self.composed[0][1:])]
        onset, duration, pitch, velocity = np.array(kept, dtype=np.float64).T
        duration = np.maximum(SHORTEST, np.minimum(duration, seconds - onset))
        last = float(self.prompt.seed["onset"][-1])
        return starting_at(as_notes(onset, duration, pitch, velocity), last + float(onset[0]))
