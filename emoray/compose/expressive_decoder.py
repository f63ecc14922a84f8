"""Expressive decoder: a network that carries its state, asked for one note of many sequences at a time.

Conventions
-----------
Each sequence runs through the network unconditionally. A sequence whose mode gives the network a condition
(``attributes``, ``cfg``) runs through it a second time, conditionally, and ``classifier_free_guidance.py``
makes the condition and mixes the two. What the network reads is what it predicted; tempo and cadence scale
only the notes that are written.

Letters: **B** sequences, **C** conditional sequences, **G** = B + C rows of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emoray.compose.cadence import (
    CADENCE_NOTES,
    CADENCE_SECONDS,
    CHORD_SPREAD,
    Cadence,
    cadence_at,
    cadence_pitches,
)
from emoray.compose.classifier_free_guidance import GUIDANCE_SCALE, ClassifierFreeGuidance, effective
from emoray.compose.conditions import achieved, fitted_map, steered, target, target_key
from emoray.compose.decoder_state import Composed, DecoderState
from emoray.compose.original_formulas import GAMMA, prescribed_temperature, tempo_factor, time_factor
from emoray.compose.pitch_guidance import GuidanceInputs, guided
from emoray.compose.prefill import LONGEST_CONTEXT, note_inputs, prefill
from emoray.compose.sampling import RECENT, repetition_guard, sample
from emoray.config import CONDITIONED_MODES, BaselinePreset, ExpressivePreset, OriginalGuidance
from emoray.dataset.attributes import GROUPS, N_ATTRIBUTES, Attributes, attributes_ahead
from emoray.dataset.bins import (
    DURATION_EDGES,
    STEP_EDGES,
    VELOCITY_WIDTH,
    bins_of,
    velocity_bins,
    within_bins,
)
from emoray.dataset.clusters import EmotionClusters
from emoray.dataset.keys import pitch_classes
from emoray.dataset.spans import condition_of
from emoray.dataset.windows import encode
from emoray.model.expressive import CONDITION_WIDTH, Context, Decided, ExpressiveNetwork, NoteInputs
from emoray.notes import N_PITCHES, Floats, Notes
from emoray.request import Prompt

TOP_P = 0.98
"""Nucleus of every head, unless a prompt says otherwise."""
SHORTEST_BIN = 3
"""Durations under 30 ms are not sampled: 1 in 100 notes of MAESTRO sounds that short."""
LONGEST_SILENCE = 2.0
"""Seconds between the last sound and the next note, at most, as predicted."""
LONGEST_WAIT = 4.0
"""Seconds between two notes, at most, as predicted."""
TEMPO_SPREADS = {"original-logit": 0.35, "logodds": 0.35}
"""Natural logarithm of the tempo's factor between neutral and calm (see ``tempo_factor``), by mode: ln 2 / 2
is EMOPIA's ratio of onset rates (Hung et al. 2021). Conditional sequences get their tempo from the onset rate
of their condition."""
WINDOW = BaselinePreset().window
"""Notes that the emotion score looks back on."""
EVERY_GROUP = np.ones(len(GROUPS), np.bool_)


@dataclass(eq=False)
class _ExpressiveState(DecoderState):
    own: Attributes = None  # type: ignore[assignment]  # [A] the seed's attributes
    aimed_at: tuple[float, float] | None = None
    """(valence, arousal) that ``aimed`` is for."""
    aimed: Attributes = None  # type: ignore[assignment]  # [A] the target
    step_factor: float = 1.0
    duration_factor: float = 1.0
    key: int | None = None
    """The key of the cadence, once it has begun."""

    @property
    def is_conditional(self) -> bool:
        return self.mode in CONDITIONED_MODES

    def target(self, valence: float, arousal: float) -> Attributes:
        """[A] the target of an emotion, computed when it changes; a strength under 1 aims less far."""
        if self.aimed_at != (valence, arousal):
            self.aimed_at = (valence, arousal)
            self.aimed = target(self.own, valence, arousal, fitted_map())
            far = float(effective(np.array(self.prompt.strength)))
            if far < 1:
                self.aimed = self.own + np.float32(far) * (self.aimed - self.own)
        return self.aimed

    @property
    def cadence(self) -> Cadence:
        notes, seconds = self.length
        return cadence_at(len(self.composed), self.clock, self.cadence_notes, notes, seconds)


class _BatchSettings:
    """What is the same for every note of the sequences in a batch, computed when the batch changes."""

    def __init__(self, states: Sequence[_ExpressiveState], original: OriginalGuidance) -> None:
        prompts = [state.prompt for state in states]
        self.modes = [state.mode for state in states]
        self.conditional = np.array(
            [place for place, state in enumerate(states) if state.is_conditional], np.int64
        )
        self.scales = np.array([GUIDANCE_SCALE[states[place].mode] for place in self.conditional]).reshape(
            -1, 2
        )
        self.strength = np.array([prompt.strength for prompt in prompts])
        self.top_p = np.array([TOP_P if prompt.top_p is None else prompt.top_p for prompt in prompts])
        temperatures = [prompt.temperature for prompt in prompts]
        self.temperature = np.array([1.0 if asked is None else asked for asked in temperatures])
        """[B] temperature of step, duration and velocity: a mode prescribes one for pitches alone."""
        self.pitch_temperature = np.array([
            prescribed_temperature(state.mode, original) if asked is None else asked
            for state, asked in zip(states, temperatures, strict=True)
        ])  # fmt: skip
        self.own = np.array([states[place].own for place in self.conditional]).reshape(-1, N_ATTRIBUTES)


class ExpressiveDecoder:
    """Sequences that are decoded by an expressive network."""

    def __init__(
        self,
        network: ExpressiveNetwork,
        preset: ExpressivePreset,
        clusters: EmotionClusters,
        original: OriginalGuidance,
        *,
        measuring: bool = False,
    ) -> None:
        self.network, self.preset, self.clusters, self.original = network, preset, clusters, original
        self.device = network.heads.weight.device
        self.measuring = measuring
        self.states: list[_ExpressiveState] = []
        self.settings = _BatchSettings((), original)
        self.network_state = network.start(0)
        """[G] of the unconditional rows, then of the conditional ones."""
        self.last = np.empty((0, 4))
        """[B, 4] the last note as the network reads it: pitch, step, duration, velocity bin."""
        self.recent = np.empty((0, RECENT), np.int64)
        """[B, RECENT] the last pitches, -1 where there is none."""
        self.window = np.empty((0, WINDOW, 3))
        """[B, WINDOW, 3] the last notes in the baseline preset's units."""
        self.predicted = np.empty((0, preset.lookahead, 4))
        """[B, lookahead, 4] the last composed notes as predicted: pitch, step, duration, velocity."""

    def join(self, waiting: Sequence[tuple[int, Prompt]]) -> None:
        """Take prompts, with their places in the answer, into the batch."""
        joining = [self._joining(index, prompt) for index, prompt in waiting]
        seeds = [state.prompt.seed[-LONGEST_CONTEXT:] for state in joining]
        conditional = [place for place, state in enumerate(joining) if state.is_conditional]
        nothing = [np.zeros((len(seed) - 1, CONDITION_WIDTH), np.float32) for seed in seeds]
        known = [
            condition_of(attributes_ahead(seeds[place], self.preset.lookahead)[1:], EVERY_GROUP)
            for place in conditional
        ]
        begun = prefill(self.network, [*seeds, *(seeds[place] for place in conditional)], [*nothing, *known])
        before, all_before, added = len(self.states), len(self.network_state.pitch), len(joining)
        uncond = [*range(before), *range(all_before, all_before + added)]
        cond = [*range(before, all_before), *range(all_before + added, all_before + len(begun.pitch))]
        self.network_state = self.network_state.joined(begun).rows([*uncond, *cond])
        self.last = np.concatenate([self.last, [note_inputs(seed)[-1] for seed in seeds]])
        self.recent = np.concatenate([self.recent, [_last_pitches(seed) for seed in seeds]])
        self.window = np.concatenate([self.window, [_last_window(seed) for seed in seeds]])
        self.predicted = np.concatenate([self.predicted, np.zeros((added, *self.predicted.shape[1:]))])
        self.states += joining
        self.settings = _BatchSettings(self.states, self.original)

    def leave(self) -> list[tuple[int, Composed]]:
        """The pieces of the sequences that are over, which leave the batch."""
        over = [(state.index, state.piece) for state in self.states if state.is_over]
        if over:
            leaving = {place for place, state in enumerate(self.states) if state.is_over}
            stay = [place for place in range(len(self.states)) if place not in leaving]
            conditional = enumerate(self.settings.conditional.tolist(), start=len(self.states))
            self.network_state = self.network_state.rows(
                [*stay, *(row for row, place in conditional if place not in leaving)]
            )
            self.last, self.recent, self.window = self.last[stay], self.recent[stay], self.window[stay]
            self.predicted = self.predicted[stay]
            self.states = [self.states[place] for place in stay]
            self.settings = _BatchSettings(self.states, self.original)
        return over

    @torch.inference_mode()
    def decode_step(self) -> None:
        """One more note for each sequence."""
        states, settings = self.states, self.settings
        uniform = np.array([state.generator.random(6) for state in states])
        emotions = np.array([state.emotion for state in states])
        divergence = np.zeros(len(states)) if self.measuring else None
        guidance = ClassifierFreeGuidance(
            settings.conditional, settings.scales, settings.strength[settings.conditional], divergence
        )
        condition = self._condition(emotions)
        context = self._read_last(condition)
        added = self.network.head_condition(condition)
        cadences = [state.cadence for state in states]

        step = self._step(
            guidance.guided(self.network.step_logits(context, added)), context, cadences, uniform[:, :2]
        )
        own = self.network.pitch_logits(context, added, guidance.doubled(step, self.device))
        moved = self._guided_pitches(guidance.guided_pitches(own), step, emotions)
        guidance.measure(moved, own)
        pitch = self._pitch(moved, cadences, uniform[:, 2])
        decided = guidance.doubled(step, self.device), guidance.doubled(pitch, self.device)
        duration = self._duration(
            guidance.guided(self.network.duration_logits(context, added, *decided)),
            context,
            step,
            cadences,
            uniform[:, 3:5],
        )
        note = Decided(*decided, guidance.doubled(duration, self.device))
        velocity = self._velocity(
            guidance.guided(self.network.velocity_logits(context, added, note)), uniform[:, 5]
        )
        if divergence is not None:
            for state, nats in zip(states, divergence.tolist(), strict=True):
                state.divergence += nats
        self._append(
            np.stack([pitch, step, duration, velocity_bins(velocity)], axis=1), velocity, emotions, cadences
        )

    def _joining(self, index: int, prompt: Prompt) -> _ExpressiveState:
        generator = np.random.default_rng(prompt.random_seed)
        gamma, delta = generator.normal(1.0, self.original.sigma, size=2)  # in every mode alike
        state = _ExpressiveState(index, prompt, generator)
        seed = prompt.seed[-self.preset.lookahead :]
        state.own = attributes_ahead(seed, self.preset.lookahead, 1)[0]
        if state.mode in GAMMA:
            valence = prompt.emotion_at(0.0)[0]
            state.step_factor = time_factor(valence, prompt.strength, GAMMA[state.mode](float(gamma)))
            state.duration_factor = time_factor(valence, prompt.strength, GAMMA[state.mode](float(delta)))
        return state

    def _condition(self, emotions: Floats) -> Tensor:
        """[G, 1, A + G] the condition of each row of the network; zeros in unconditional rows."""
        conditional = self.settings.conditional
        condition = np.zeros((len(self.states) + len(conditional), 1, CONDITION_WIDTH), np.float32)
        if len(conditional):
            states = [self.states[place] for place in conditional]
            count = np.array([len(state.composed) for state in states])
            aimed = np.stack([
                state.target(valence, arousal)
                for state, (valence, arousal) in zip(states, emotions[conditional].tolist(), strict=True)
            ])  # fmt: skip
            found = achieved(self.predicted[conditional], count)
            asked = steered(self.settings.own, aimed, found, count, self.predicted.shape[1])
            condition[len(self.states) :, 0] = condition_of(asked, EVERY_GROUP)
        return torch.from_numpy(condition).to(self.device)

    def _read_last(self, condition: Tensor) -> Context:
        """What the network knows after the last note of each sequence, unconditional rows first."""
        last = np.concatenate([self.last, self.last[self.settings.conditional]])
        numbers = torch.from_numpy(last[:, None, [0, 3]].astype(np.int64)).to(self.device)
        seconds = torch.from_numpy(last[:, None, 1:3].astype(np.float32)).to(self.device)
        inputs = NoteInputs(numbers[..., 0], seconds[..., 0], seconds[..., 1], numbers[..., 1])
        context, self.network_state = self.network.read(inputs, condition, self.network_state)
        return context

    def _sample(self, logits: Floats, uniform: Floats, *, of_pitch: bool = False) -> NDArray[np.int64]:
        """[B] choices."""
        temperature = self.settings.pitch_temperature if of_pitch else self.settings.temperature
        return sample(logits, temperature, self.settings.top_p, uniform)

    def _step(self, logits: Floats, context: Context, cadences: Sequence[Cadence], uniform: Floats) -> Floats:
        """[B] seconds until the next note, without holes; the notes of a cadence are struck together."""
        remaining = context.sounding_remaining[: len(self.states), 0].cpu().numpy().astype(np.float64)
        latest = np.minimum(remaining + LONGEST_SILENCE, LONGEST_WAIT)
        latest = np.where([bool(cadence.note) for cadence in cadences], CHORD_SPREAD - 0.001, latest)
        logits = np.where(latest[:, None] >= STEP_EDGES, logits, -np.inf)
        return np.minimum(within_bins(self._sample(logits, uniform[:, 0]), STEP_EDGES, uniform[:, 1]), latest)

    def _guided_pitches(self, logits: Floats, step: Floats, emotions: Floats) -> Floats:
        """[B, 128] pitch logits, guided by the modes that act on them."""
        inputs = GuidanceInputs(
            window=self.window,
            recent=self.recent,
            step=step,
            duration=self.window[:, :, 2].mean(axis=1),
            valence=emotions[:, 0],
            strength=self.settings.strength,
        )
        return guided(self.settings.modes, logits, inputs, self.clusters, self.original)

    def _pitch(self, logits: Floats, cadences: Sequence[Cadence], uniform: Floats) -> NDArray[np.int64]:
        """[B] pitches, out of loops and into the cadence."""
        logits = np.where(repetition_guard(self.recent), -np.inf, logits)
        for place, cadence in enumerate(cadences):
            if cadence.note is not None:
                possible = cadence_pitches(self._key(place), cadence.note, int(self.recent[place, -1]))
                logits[place] = np.where(possible, np.maximum(logits[place], -1e9), -np.inf)
        return self._sample(logits, uniform, of_pitch=True)

    def _key(self, place: int) -> int:
        """The key of a sequence's cadence: that of its last notes, in the mode that its valence asks for."""
        state = self.states[place]
        if state.key is None:
            pitches = [pitch for _, _, pitch, _ in state.composed[-self.preset.lookahead :]]
            valence = state.prompt.emotion_at(state.clock)[0] if state.is_conditional else 0.0
            state.key = target_key(pitch_classes(np.array(pitches)), valence if abs(valence) > 0.5 else 0.0)
        return state.key

    def _duration(
        self,
        logits: Floats,
        context: Context,
        step: Floats,
        cadences: Sequence[Cadence],
        uniform: Floats,
    ) -> Floats:
        """[B] seconds; a note sampled to end with what sounds already ends exactly with it."""
        logits[:, :SHORTEST_BIN] = -np.inf
        chosen = self._sample(logits, uniform[:, 0])
        seconds = within_bins(chosen, DURATION_EDGES, uniform[:, 1])
        for sounding in (context.sounding_remaining, context.duration):
            left = sounding[: len(self.states), 0].cpu().numpy().astype(np.float64) - step
            seconds = np.where((left > 0) & (bins_of(left, DURATION_EDGES) == chosen), left, seconds)
        return np.where([cadence.note is not None for cadence in cadences], CADENCE_SECONDS, seconds)

    def _velocity(self, logits: Floats, uniform: Floats) -> NDArray[np.int64]:
        """[B] velocities 1..127: the middle of the sampled bin."""
        return np.maximum(1, self._sample(logits, uniform) * VELOCITY_WIDTH + VELOCITY_WIDTH // 2)

    def _append(
        self, notes: Floats, velocity: NDArray[np.int64], emotions: Floats, cadences: Sequence[Cadence]
    ) -> None:
        """Notes into the network's past as predicted, and into the music as they are written."""
        self.last = notes
        self.recent = np.concatenate([self.recent[:, 1:], notes[:, :1].astype(np.int64)], axis=1)
        encoded = notes[:, None, :3] / np.array([N_PITCHES, 1, 1])
        self.window = np.concatenate([self.window[:, 1:], encoded], axis=1)
        predicted = np.concatenate([notes[:, :3], velocity[:, None]], axis=1)
        self.predicted = np.concatenate([self.predicted[:, 1:], predicted[:, None]], axis=1)
        for state, (pitch, step, duration, _), loud, (_, arousal), (slowing, note) in zip(
            self.states, notes.tolist(), velocity.tolist(), emotions.tolist(), cadences, strict=True
        ):
            spread = TEMPO_SPREADS.get(state.mode, 0.0)
            tempo = tempo_factor(arousal, state.prompt.strength, spread) if spread else 1.0
            state.append(
                step * state.step_factor * tempo * slowing,
                duration * state.duration_factor * tempo * slowing if note is None else duration,
                int(pitch), loud,
            )  # fmt: skip
            state.cadence_notes = 0 if note is None else note + 1
            assert state.cadence_notes <= CADENCE_NOTES


def _last_pitches(seed: Notes) -> NDArray[np.int64]:
    """[RECENT] the last pitches of a seed, -1 before its first."""
    pitches = seed["pitch"][-RECENT:].astype(np.int64)
    return np.concatenate([np.full(RECENT - len(pitches), -1), pitches])


def _last_window(seed: Notes) -> Floats:
    """[WINDOW, 3] the last notes of a seed in the baseline preset's units; a short one is repeated."""
    x = encode(seed)[-WINDOW:].astype(np.float64)
    return np.tile(x, (-(-WINDOW // len(x)), 1))[-WINDOW:]
