"""Seed decoder: the baseline preset's network, sliding its window as it was trained.

Conventions
-----------
The window holds notes as predicted; gamma and delta scale only what is heard, or they would compound. A seed
shorter than the window is repeated until it fills it, because the network was trained on full windows.
Composed notes take the seed's mean velocity: the baseline preset has no head for it.

Letters: **B** rows, **T** notes of context.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emoray.compose.classifier_guidance import RECENT, divergence, log_chances
from emoray.compose.decoder_state import Composed, DecoderState
from emoray.compose.original_formulas import GAMMA, prescribed_temperature, tempo_factor, time_factor
from emoray.compose.pitch_guidance import Played, bent
from emoray.compose.sampling import chosen
from emoray.config import BaselinePreset, OriginalGuidance
from emoray.dataset.clusters import EmotionClusters
from emoray.dataset.windows import encode
from emoray.model.baseline import BaselineNetwork
from emoray.notes import N_PITCHES, SHORTEST, Floats, Notes, steps
from emoray.request import Prompt

LONGEST_STEP, LONGEST_DURATION = 4.0, 10.0
"""Seconds: no prediction is taken further, so a runaway mean cannot stop the music."""
PAUSE = 0.25
"""Seconds between the repeats of a seed of one note."""
SPREAD = math.log(2) / 2
"""Of the tempo between calm and excited in the modes that are not the original system's: twice as fast, the
ratio of densities between the quadrants happy and sad in EMOPIA (Hung et al. 2021)."""


@dataclass(eq=False)
class _BaselineState(DecoderState):
    step_factor: float = 1.0
    duration_factor: float = 1.0
    velocity: int = 64


class BaselineDecoder:
    """Rows of requests for a baseline network."""

    def __init__(
        self,
        network: BaselineNetwork,
        preset: BaselinePreset,
        clusters: EmotionClusters,
        guidance: OriginalGuidance,
        *,
        measuring: bool = False,
    ) -> None:
        self.network, self.preset, self.clusters, self.guidance = network, preset, clusters, guidance
        self.measuring = measuring
        self.states: list[_BaselineState] = []
        self.windows = np.empty((0, preset.window, 3), np.float32)
        """[B, T, 3] model units, as predicted."""
        self._settle()

    def join(self, waiting: Sequence[tuple[int, Prompt]]) -> None:
        """Take requests, with their places in the answer, into the batch."""
        self.states += [self._entering(place, request) for place, request in waiting]
        begun = [context(request.seed, self.preset.window) for _, request in waiting]
        self.windows = np.concatenate([self.windows, begun])
        self._settle()

    def leave(self) -> list[tuple[int, Composed]]:
        """The pieces of the requests that are over, which leave the batch."""
        over = [(row.index, row.piece) for row in self.states if row.is_over]
        if over:
            stay = [index for index, row in enumerate(self.states) if not row.is_over]
            self.windows = self.windows[stay]
            self.states = [self.states[index] for index in stay]
            self._settle()
        return over

    def _settle(self) -> None:
        """Work out what is the same for every note until the batch changes again."""
        self.modes = [row.mode for row in self.states]
        self.strength = np.array([row.prompt.strength for row in self.states])
        asked = [(row.mode, row.prompt.temperature) for row in self.states]
        self.heat = np.array([
            prescribed_temperature(mode, self.guidance) if heat is None else heat for mode, heat in asked
        ])  # fmt: skip

    def decode_step(self) -> None:
        """One more note for each row."""
        rows = self.states
        logits, step, duration = self._predict()
        emotions = np.array([row.emotion for row in rows])
        played = Played(
            window=self.windows.astype(np.float64),
            recent=np.rint(self.windows[:, -RECENT:, 0] * N_PITCHES).astype(np.int64),
            step=step,
            duration=duration,
            valence=emotions[:, 0],
            strength=self.strength,
        )
        curved = bent(self.modes, logits, played, self.clusters, self.guidance)
        pitch = sample_pitches(curved, self.heat, np.array([row.generator.random() for row in rows]))
        if self.measuring:
            heated = curved / np.where(self.heat > 0, self.heat, 1)[:, None]
            for row, far in zip(rows, divergence(log_chances(heated), log_chances(logits)), strict=True):
                row.divergence += float(far)
        notes = np.stack([pitch / N_PITCHES, step, duration], axis=1).astype(np.float32)
        self.windows = np.concatenate([self.windows[:, 1:], notes[:, None]], axis=1)
        heard = zip(rows, pitch.tolist(), step.tolist(), duration.tolist(), emotions.tolist(), strict=True)
        for row, key, after, lasting, (_, arousal) in heard:
            tempo = 1.0
            if row.mode not in GAMMA and row.mode != "none":
                tempo = tempo_factor(arousal, row.prompt.strength, SPREAD)
            row.hear(
                after * row.step_factor * tempo, lasting * row.duration_factor * tempo, key, row.velocity
            )

    def _entering(self, place: int, request: Prompt) -> _BaselineState:
        generator = np.random.default_rng(request.random_seed)
        drawn = generator.normal(1.0, self.guidance.sigma, size=2)  # in every mode: the rest stays comparable
        row = _BaselineState(place, request, generator, velocity=_velocity(request.seed))
        if row.mode in GAMMA:
            valence = request.emotion_at(0.0)[0]
            gamma, delta = (GAMMA[row.mode](float(draw)) for draw in drawn)
            row.step_factor = time_factor(valence, request.strength, gamma)
            row.duration_factor = time_factor(valence, request.strength, delta)
        return row

    def _predict(self) -> tuple[Floats, Floats, Floats]:
        """The next note of each row: logits [B, 128], steps [B] and durations [B] that can be played."""
        device = self.network.pitch.weight.device
        prediction = self.network.predict_rows(torch.from_numpy(self.windows).to(device))
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


def sample_pitches(logits: Floats, temperature: Floats, drawn: Floats) -> NDArray[np.int64]:
    """[B] pitches from [B, 128] logits with one number 0..1 a row; temperature 0 takes the likeliest."""
    heat = np.where(temperature > 0, temperature, 1.0)
    chances = np.exp((logits - logits.max(axis=1, keepdims=True)) / heat[:, None])
    return np.where(temperature > 0, chosen(chances, drawn), logits.argmax(axis=1))


def _velocity(seed: Notes) -> int:
    return int(np.rint(seed["velocity"][-25:].astype(np.float64).mean()))
