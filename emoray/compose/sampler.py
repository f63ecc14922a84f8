"""Sampler: B requests to B note arrays, one note each at a time, through one network call.

Conventions
-----------
Requests that are done leave the batch and waiting ones enter. A request's notes depend on the checkpoint
and the request alone: its random numbers come from a generator of its own, and arithmetic is row by row.
The seed preset slides its window of 25 notes and runs it whole for each note, as it was trained. The
window holds notes as predicted; gamma and delta scale only what is heard, or they would compound.

A seed shorter than the window is repeated until it fills it, because the network was trained on full
windows. Composed notes take the seed's mean velocity: the seed preset has no head for it.

Letters: **B** requests in a batch, **T** notes of context.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from emoray.compose.guidance import (
    GAMMA,
    Floats,
    candidate_scores,
    on_keyboard,
    prescribed_temperature,
    seed_logits,
    time_factor,
)
from emoray.config import Request, SeedGuidance
from emoray.dataset.windows import encode
from emoray.model.checkpoint import Checkpoint, best_device
from emoray.notes import N_PITCHES, SHORTEST, Notes, as_notes, starting_at, steps

LONGEST_STEP, LONGEST_DURATION = 4.0, 10.0
"""Seconds: no prediction is taken further, so a runaway mean cannot stop the music."""
MOST_NOTES_A_SECOND = 40
"""Ends a request in seconds even if the network stands still; real pieces stay under it."""
SCORED = ("seed", "seed-tempered")
"""Modes that score each candidate pitch."""
PAUSE = 0.25
"""Seconds between the repeats of a seed of one note."""


@dataclass(eq=False)
class _Row:
    """A request in the batch."""

    place: int
    """Where its notes belong in the answer."""
    request: Request
    generator: np.random.Generator
    step_factor: float
    duration_factor: float
    velocity: int
    window: NDArray[np.float32]
    """[T, 3] model units, as predicted."""
    clock: float = 0.0
    """Seconds since the seed's last onset."""
    composed: list[tuple[float, float, int]] = field(default_factory=list)
    """(onset after the seed's last, duration, pitch) of each note."""

    @property
    def mode(self) -> str:
        return self.request.guidance if self.request.strength and self.request.valence else "none"


class Composer:
    """Composes for many requests at once with one checkpoint."""

    def __init__(
        self, checkpoint: Checkpoint, *, rows: int = 64, guidance: SeedGuidance | None = None
    ) -> None:
        self.checkpoint = checkpoint
        self.device = best_device()
        self.network = checkpoint.network.to(self.device).eval()
        self.rows = rows
        self.guidance = guidance or SeedGuidance()

    def compose(self, requests: Sequence[Request]) -> list[Notes]:
        """The composed notes of each request, in order; onsets go on where its seed's last onset is.

        Returns:
            One note array a request, 1 to its ``length`` notes, without the seed.
        """
        waiting = deque(enumerate(requests))
        answers: list[Notes] = [np.empty(0)] * len(requests)
        rows: list[_Row] = []
        while waiting or rows:
            while waiting and len(rows) < self.rows:
                rows.append(self._entering(*waiting.popleft()))
            self._advance(rows)
            for row in rows:
                if _is_over(row):
                    answers[row.place] = _notes_of(row)
            rows = [row for row in rows if not _is_over(row)]
        return answers

    def _entering(self, place: int, request: Request) -> _Row:
        generator = np.random.default_rng(request.random_seed)
        drawn = generator.normal(1.0, self.guidance.sigma, size=2)  # in every mode: the rest stays comparable
        window = context(request.seed, self.checkpoint.preset.window)
        row = _Row(place, request, generator, 1.0, 1.0, _velocity(request.seed), window)
        gamma, delta = (GAMMA[row.mode](float(draw)) for draw in drawn)
        row.step_factor = time_factor(request.valence, request.strength, gamma)
        row.duration_factor = time_factor(request.valence, request.strength, delta)
        return row

    def _advance(self, rows: list[_Row]) -> None:
        """One more note for each row."""
        logits, step, duration = self._predict(np.stack([row.window for row in rows]))
        bent, temperature = self._guided(rows, logits, step, duration)
        for index, row in enumerate(rows):
            asked = row.request.temperature
            pitch = sample_pitch(bent[index], temperature[index] if asked is None else asked, row.generator)
            _append(row, pitch, float(step[index]), float(duration[index]))

    def _predict(self, windows: NDArray[np.float32]) -> tuple[Floats, Floats, Floats]:
        """[B, T, 3] to logits [B, 128], steps [B] and durations [B] that can be played."""
        prediction = self.network.predict_rows(torch.from_numpy(windows).to(self.device))
        logits, step, duration = (part.cpu().numpy().astype(np.float64) for part in prediction)
        return logits, np.clip(step, 0, LONGEST_STEP), np.clip(duration, SHORTEST, LONGEST_DURATION)

    def _guided(
        self, rows: list[_Row], logits: Floats, step: Floats, duration: Floats
    ) -> tuple[Floats, Floats]:
        """Logits as each row's guidance bends them, and the temperature it prescribes [B]."""
        bent = on_keyboard(logits)
        temperature = np.array([prescribed_temperature(row.mode, self.guidance) for row in rows])
        seed = np.array([row.mode in SCORED for row in rows])
        literal = np.array([row.mode == "seed-literal" for row in rows])
        if literal.any():  # its one score for all pitches cancels in the softmax: only beta is left
            bent[literal] = self.guidance.beta * logits[literal]
        if seed.any():
            window = np.stack([row.window for row in rows if row.mode in SCORED]).astype(np.float64)
            valence = np.array([row.request.valence for row in rows])[seed]
            strength = np.array([row.request.strength for row in rows])[seed]
            score = candidate_scores(window, step[seed], duration[seed], valence, self.checkpoint.clusters)
            bent[seed] = on_keyboard(seed_logits(logits[seed], score, valence, strength, self.guidance))
        return bent, temperature


def context(seed: Notes, window: int) -> NDArray[np.float32]:
    """[window, 3] the last notes of a seed in model units; a short seed is repeated until it fills them.

    The repeats are apart by the seed's median step.
    """
    x = encode(seed)
    if len(seed) < window:
        between = float(np.median(steps(seed)[1:])) if len(seed) > 1 else PAUSE
        repeats = np.tile(x, (math.ceil(window / len(seed)), 1))
        repeats[:: len(seed), 1] = between
        x = repeats
    return x[-window:]


def sample_pitch(logits: Floats, temperature: float, generator: np.random.Generator) -> int:
    """Draw a pitch from [128] logits with one number of ``generator``; temperature 0 takes the likeliest."""
    drawn = generator.random()
    if temperature == 0:
        return int(logits.argmax())
    chances = np.exp((logits - logits.max()) / temperature)
    heights = np.cumsum(chances)
    pitch = int(np.searchsorted(heights, drawn * heights[-1], side="right"))
    return min(pitch, int(np.flatnonzero(chances)[-1]))


def _append(row: _Row, pitch: int, step: float, duration: float) -> None:
    """Take a note into the window as predicted, and into the music as the emotion bends it."""
    row.window = np.concatenate([row.window[1:], np.array([[pitch / N_PITCHES, step, duration]], np.float32)])
    heard = step * row.step_factor
    if not row.composed:
        heard = max(heard, SHORTEST)  # composed notes come after the seed's last, in any file format
    row.clock += heard
    row.composed.append((row.clock, max(SHORTEST, duration * row.duration_factor), pitch))


def _is_over(row: _Row) -> bool:
    notes, seconds = row.request.length
    most = min(notes, math.ceil(seconds * MOST_NOTES_A_SECOND)) if seconds < math.inf else notes
    return len(row.composed) >= most or row.clock >= seconds


def _notes_of(row: _Row) -> Notes:
    """The composed notes; those past the asked seconds are left out, but for the first."""
    _, seconds = row.request.length
    kept = [note for note in row.composed if note[0] < seconds] or [(SHORTEST, *row.composed[0][1:])]
    onset, duration, pitch = np.array(kept, dtype=np.float64).T
    duration = np.maximum(SHORTEST, np.minimum(duration, seconds - onset))
    last = float(row.request.seed["onset"][-1])
    notes = as_notes(onset, duration, pitch, np.full(len(kept), row.velocity))
    return starting_at(notes, last + float(onset[0]))


def _velocity(seed: Notes) -> int:
    return int(np.rint(seed["velocity"][-25:].astype(np.float64).mean()))
