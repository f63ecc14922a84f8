"""Seed player: the seed preset's network, sliding its window as it was trained.

Conventions
-----------
The window holds notes as predicted; gamma and delta scale only what is heard, or they would compound. A seed
shorter than the window is repeated until it fills it, because the network was trained on full windows.
Composed notes take the seed's mean velocity: the seed preset has no head for it.

Letters: **B** rows, **T** notes of context.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emoray.compose.bending import Played, bent
from emoray.compose.guidance import GAMMA, Floats, prescribed_temperature, tempo_factor, time_factor
from emoray.compose.pulls import RECENT, divergence, log_chances
from emoray.compose.row import Composed, Row
from emoray.config import Request, SeedGuidance, SeedPreset
from emoray.dataset.clusters import EmotionClusters
from emoray.dataset.windows import encode
from emoray.model.network import SeedNetwork
from emoray.notes import N_PITCHES, SHORTEST, Notes, steps

LONGEST_STEP, LONGEST_DURATION = 4.0, 10.0
"""Seconds: no prediction is taken further, so a runaway mean cannot stop the music."""
PAUSE = 0.25
"""Seconds between the repeats of a seed of one note."""
SPREAD = math.log(2) / 2
"""Of the tempo between calm and excited in the modes that are not the seed document's: twice as fast, the
ratio of densities between the quadrants happy and sad in EMOPIA (Hung et al. 2021)."""


@dataclass(eq=False)
class _SeedRow(Row):
    step_factor: float = 1.0
    duration_factor: float = 1.0
    velocity: int = 64
    window: NDArray[np.float32] = None  # type: ignore[assignment]  # [T, 3] model units, as predicted


class SeedPlayer:
    """Rows of requests for a seed network."""

    def __init__(
        self, network: SeedNetwork, preset: SeedPreset, clusters: EmotionClusters, guidance: SeedGuidance
    ) -> None:
        self.network, self.preset, self.clusters, self.guidance = network, preset, clusters, guidance
        self.rows: list[_SeedRow] = []

    def enter(self, waiting: Sequence[tuple[int, Request]]) -> None:
        """Take requests, with their places in the answer, into the batch."""
        self.rows += [self._entering(place, request) for place, request in waiting]

    def leave(self) -> list[tuple[int, Composed]]:
        """The pieces of the requests that are over, which leave the batch."""
        over = [(row.place, row.piece) for row in self.rows if row.is_over]
        self.rows = [row for row in self.rows if not row.is_over]
        return over

    def advance(self) -> None:
        """One more note for each row."""
        rows = self.rows
        windows = np.stack([row.window for row in rows])
        logits, step, duration = self._predict(windows)
        emotions = np.array([row.request.emotion_at(row.clock) for row in rows])
        played = Played(
            window=windows.astype(np.float64),
            recent=np.rint(windows[:, -RECENT:, 0] * N_PITCHES).astype(np.int64),
            step=step,
            duration=duration,
            valence=emotions[:, 0],
            strength=np.array([row.request.strength for row in rows]),
        )
        curved = bent([row.mode for row in rows], logits, played, self.clusters, self.guidance)
        heat = np.array([
            prescribed_temperature(row.mode, self.guidance)
            if row.request.temperature is None
            else row.request.temperature
            for row in rows
        ])  # fmt: skip
        moved = divergence(log_chances(curved / np.where(heat > 0, heat, 1)[:, None]), log_chances(logits))
        for index, row in enumerate(rows):
            row.divergence += float(moved[index])
            pitch = sample_pitch(curved[index], float(heat[index]), row.generator)
            _append(row, pitch, float(step[index]), float(duration[index]), emotions[index])

    def _entering(self, place: int, request: Request) -> _SeedRow:
        generator = np.random.default_rng(request.random_seed)
        drawn = generator.normal(1.0, self.guidance.sigma, size=2)  # in every mode: the rest stays comparable
        row = _SeedRow(place, request, generator, velocity=_velocity(request.seed))
        row.window = context(request.seed, self.preset.window)
        if row.mode in GAMMA:
            valence = request.emotion_at(0.0)[0]
            gamma, delta = (GAMMA[row.mode](float(draw)) for draw in drawn)
            row.step_factor = time_factor(valence, request.strength, gamma)
            row.duration_factor = time_factor(valence, request.strength, delta)
        return row

    def _predict(self, windows: NDArray[np.float32]) -> tuple[Floats, Floats, Floats]:
        """[B, T, 3] to logits [B, 128], steps [B] and durations [B] that can be played."""
        device = self.network.pitch.weight.device
        prediction = self.network.predict_rows(torch.from_numpy(windows).to(device))
        logits, step, duration = (part.cpu().numpy().astype(np.float64) for part in prediction)
        return logits, np.clip(step, 0, LONGEST_STEP), np.clip(duration, SHORTEST, LONGEST_DURATION)


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


def _append(row: _SeedRow, pitch: int, step: float, duration: float, emotion: Floats) -> None:
    """Take a note into the window as predicted, and into the music as the emotion bends it."""
    row.window = np.concatenate([row.window[1:], np.array([[pitch / N_PITCHES, step, duration]], np.float32)])
    tempo = 1.0
    if row.mode not in GAMMA and row.mode != "none":
        tempo = tempo_factor(float(emotion[1]), row.request.strength, SPREAD)
    row.hear(step * row.step_factor * tempo, duration * row.duration_factor * tempo, pitch, row.velocity)


def _velocity(seed: Notes) -> int:
    return int(np.rint(seed["velocity"][-25:].astype(np.float64).mean()))
