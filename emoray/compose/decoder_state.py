"""Decoder state: a prompt while it is being composed, and the notes it becomes.

Conventions
-----------
``clock`` and ``composed`` are the music as it is written: seconds after the seed's last onset, scaled by
emotion and cadence. What the network reads instead is kept by each decoder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from emoray.compose.cadence import CADENCE_NOTES
from emoray.notes import SHORTEST, Notes, as_notes, starting_at
from emoray.request import Prompt

HIGHEST_ONSET_RATE = 40
"""Onsets a second that bound a piece in seconds even if its steps are all 0; real pieces stay under it."""


class Composed(NamedTuple):
    """A composed piece."""

    notes: Notes
    divergence: float
    """Kullback-Leibler divergence of what was sampled from the network's own distributions: nats a note."""


@dataclass(eq=False)
class DecoderState:
    """One sequence of the batch."""

    index: int
    """Where its piece belongs in the answer."""
    prompt: Prompt
    generator: np.random.Generator
    clock: float = 0.0
    """Seconds since the seed's last onset."""
    cadence_notes: int = 0
    """Notes of the cadence so far."""
    divergence: float = 0.0
    """Nats that guidance has moved its notes' distributions from the network's own, summed over notes."""
    cancelled: bool = False
    """Nobody waits for it any more."""
    composed: list[tuple[float, float, int, int]] = field(default_factory=list)
    """(onset after the seed's last, duration, pitch, velocity) of each note."""

    @cached_property
    def mode(self) -> str:
        """The guidance mode in effect: a strength of 0, or no emotion at all, is ``none``."""
        prompt = self.prompt
        emotional = any(prompt.emotion_at(0.0)) or any(v or a for _, v, a in prompt.curve)
        return prompt.guidance if prompt.strength and emotional else "none"

    @cached_property
    def length(self) -> tuple[int, float]:
        """(most notes, most seconds)."""
        notes, seconds = self.prompt.length
        most = min(notes, math.ceil(seconds * HIGHEST_ONSET_RATE)) if seconds < math.inf else notes
        return most, seconds

    @property
    def emotion(self) -> tuple[float, float]:
        """(valence, arousal) now."""
        return self.prompt.emotion_at(self.clock) if self.prompt.curve else self._constant_emotion

    @cached_property
    def _constant_emotion(self) -> tuple[float, float]:
        return self.prompt.emotion_at(0.0)

    def append(self, step: float, duration: float, pitch: int, velocity: int) -> None:
        """Add a composed note, its times as they are written."""
        if not self.composed:
            step = max(step, SHORTEST)  # composed notes come after the seed's last, in any file format
        self.clock += step
        self.composed.append((self.clock, max(SHORTEST, duration), pitch, velocity))

    @property
    def is_over(self) -> bool:
        """Whether its last note is composed, or nobody wants another."""
        notes, seconds = self.length
        done = len(self.composed) >= notes or self.clock >= seconds or self.cadence_notes >= CADENCE_NOTES
        return self.cancelled or done

    @property
    def piece(self) -> Composed:
        """The piece so far."""
        return Composed(self.notes(), self.divergence / max(len(self.composed), 1))

    def notes(self) -> Notes:
        """The composed notes; those past the seconds asked for are left out, but for the first."""
        _, seconds = self.prompt.length
        kept = [note for note in self.composed if note[0] < seconds] or [(SHORTEST, *self.composed[0][1:])]
        onset, duration, pitch, velocity = np.array(kept, dtype=np.float64).T
        duration = np.maximum(SHORTEST, np.minimum(duration, seconds - onset))
        last = float(self.prompt.seed["onset"][-1])
        return starting_at(as_notes(onset, duration, pitch, velocity), last + float(onset[0]))
