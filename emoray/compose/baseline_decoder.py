"""Baseline decoder: the baseline preset's network, sliding its window as it was trained.

Conventions
-----------
The window holds notes as the network predicted them; gamma and delta scale only the notes that are written,
or their effects would multiply from note to note. A seed shorter than the window is repeated until it fills
it, because the network was trained on full windows. Composed notes take the seed's mean velocity: the
baseline preset has no head for it.

Letters: **B** sequences, **T** notes of context.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emoray.compose.decoder_state import Composed, DecoderState
from emoray.compose.original_formulas import GAMMA, prescribed_temperature, tempo_factor, time_factor
from emoray.compose.pitch_guidance import GuidanceInputs, guided
from emoray.compose.sampling import RECENT, choose, kl_divergence, log_probabilities
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
TEMPO_SPREAD = math.log(2) / 2
"""Natural logarithm of the tempo's factor from neutral to calm, and from excited to neutral, in the modes
that are not the original system's: excited is twice as fast as calm, the ratio of onset rates between the
quadrants happy and sad in EMOPIA (Hung et al. 2021)."""


@dataclass(eq=False)
class _BaselineState(DecoderState):
    step_factor: float = 1.0
    duration_factor: float = 1.0
    velocity: int = 64


class BaselineDecoder:
    """Sequences that are decoded by a baseline network."""

    def __init__(
        self,
        network: BaselineNetwork,
        preset: BaselinePreset,
        clusters: EmotionClusters,
        original: OriginalGuidance,
        *,
        measuring: bool = False,
    ) -> None:
        self.network, self.preset, self.clusters, self.original = network, preset, clusters, original
        self.measuring = measuring
        self.states: list[_BaselineState] = []
        self.windows = np.empty((0, preset.window, 3), np.float32)
        """[B, T, 3] model units, as predicted."""
        self._settle()

    def join(self, waiting: Sequence[tuple[int, Prompt]]) -> None:
        """Take prompts, with their places in the answer, into the batch."""
        self.states += [self._joining(index, prompt) for index, prompt in waiting]
        begun = [context(prompt.seed, self.preset.window) for _, prompt in waiting]
        self.windows = np.concatenate([self.windows, begun])
        self._settle()

    def leave(self) -> list[tuple[int, Composed]]:
        """The pieces of the sequences that are over, which leave the batch."""
        over = [(state.index, state.piece) for state in self.states if state.is_over]
        if over:
            stay = [place for place, state in enumerate(self.states) if not state.is_over]
            self.windows = self.windows[stay]
            self.states = [self.states[place] for place in stay]
            self._settle()
        return over

    def _settle(self) -> None:
        """Work out what is the same for every note until the batch changes again."""
        self.modes = [state.mode for state in self.states]
        self.strength = np.array([state.prompt.strength for state in self.states])
        asked = [(state.mode, state.prompt.temperature) for state in self.states]
        self.temperature = np.array([
            prescribed_temperature(mode, self.original) if temperature is None else temperature
            for mode, temperature in asked
        ])  # fmt: skip

    def decode_step(self) -> None:
        """One more note for each sequence."""
        states = self.states
        logits, step, duration = self._predict()
        emotions = np.array([state.emotion for state in states])
        inputs = GuidanceInputs(
            window=self.windows.astype(np.float64),
            recent=np.rint(self.windows[:, -RECENT:, 0] * N_PITCHES).astype(np.int64),
            step=step,
            duration=duration,
            valence=emotions[:, 0],
            strength=self.strength,
        )
        moved = guided(self.modes, logits, inputs, self.clusters, self.original)
        uniform = np.array([state.generator.random() for state in states])
        pitch = sample_pitches(moved, self.temperature, uniform)
        if self.measuring:
            tempered = moved / np.where(self.temperature > 0, self.temperature, 1)[:, None]
            divergence = kl_divergence(log_probabilities(tempered), log_probabilities(logits))
            for state, nats in zip(states, divergence, strict=True):
                state.divergence += float(nats)
        notes = np.stack([pitch / N_PITCHES, step, duration], axis=1).astype(np.float32)
        self.windows = np.concatenate([self.windows[:, 1:], notes[:, None]], axis=1)
        predicted = zip(
            states, pitch.tolist(), step.tolist(), duration.tolist(), emotions.tolist(), strict=True
        )
        for state, key, after, lasting, (_, arousal) in predicted:
            tempo = 1.0
            if state.mode not in GAMMA and state.mode != "none":
                tempo = tempo_factor(arousal, state.prompt.strength, TEMPO_SPREAD)
            state.append(
                after * state.step_factor * tempo,
                lasting * state.duration_factor * tempo,
                key,
                state.velocity,
            )

    def _joining(self, index: int, prompt: Prompt) -> _BaselineState:
        generator = np.random.default_rng(prompt.random_seed)
        sampled = generator.normal(
            1.0, self.original.sigma, size=2
        )  # in every mode: the rest stays comparable
        state = _BaselineState(index, prompt, generator, velocity=_velocity(prompt.seed))
        if state.mode in GAMMA:
            valence = prompt.emotion_at(0.0)[0]
            gamma, delta = (GAMMA[state.mode](float(number)) for number in sampled)
            state.step_factor = time_factor(valence, prompt.strength, gamma)
            state.duration_factor = time_factor(valence, prompt.strength, delta)
        return state

    def _predict(self) -> tuple[Floats, Floats, Floats]:
        """The next note of each sequence: logits [B, 128], steps [B] and durations [B] that can be played."""
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


def sample_pitches(logits: Floats, temperature: Floats, uniform: Floats) -> NDArray[np.int64]:
    """[B] pitches from [B, 128] logits with one uniform random number 0..1 a sequence.

    A temperature of 0 takes the likeliest pitch.
    """
    divisor = np.where(temperature > 0, temperature, 1.0)
    weights = np.exp((logits - logits.max(axis=1, keepdims=True)) / divisor[:, None])
    return np.where(temperature > 0, choose(weights, uniform), logits.argmax(axis=1))


def _velocity(seed: Notes) -> int:
    return int(np.rint(seed["velocity"][-25:].astype(np.float64).mean()))
