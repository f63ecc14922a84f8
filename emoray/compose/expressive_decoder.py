"""Expressive decoder: a network that carries its state, asked one note at a time for many rows at once.

Conventions
-----------
Each row runs through the network uncond. A row whose mode leads it by attributes (``attributes``, ``cfg``)
runs through it a second time, told what ``steering.py`` makes of its target, and mixed as in ``lead.py``.
What the network hears is what it predicted; tempo and ending scale only what the listener hears.

Letters: **B** rows, **L** led rows, **G** = B + L rows of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emoray.compose.cadence import CHORD, CLOSE_SECONDS, TOGETHER, chord_pitches, closing
from emoray.compose.classifier_free_guidance import WEIGHT, Lead, bowed
from emoray.compose.decoder_state import Composed, DecoderState
from emoray.compose.original_formulas import GAMMA, prescribed_temperature, tempo_factor, time_factor
from emoray.compose.pitch_guidance import Played, bent
from emoray.compose.prefill import HEARD, heard_notes, joined, prefilled, taken
from emoray.compose.repetition_guard import RECENT, looping
from emoray.compose.sampling import draw, within_bins
from emoray.compose.steering import played, steered
from emoray.compose.targets import fitted_map, key_for, target
from emoray.config import CONDITIONED_MODES, BaselinePreset, ExpressivePreset, OriginalGuidance
from emoray.dataset.attributes import GROUPS, N_ATTRIBUTES, attributes_ahead
from emoray.dataset.bins import DURATION_EDGES, STEP_EDGES, VELOCITY_WIDTH, bins_of, velocity_bins
from emoray.dataset.clusters import EmotionClusters
from emoray.dataset.keys import pitch_classes
from emoray.dataset.spans import condition
from emoray.dataset.windows import encode
from emoray.model.expressive import CONDITIONS, Context, Decided, ExpressiveNetwork, Heard
from emoray.notes import N_PITCHES, Floats, Notes
from emoray.request import Prompt

TOP_P = 0.98
"""Of every head, unless a request says otherwise."""
SHORTEST_BIN = 3
"""Durations under 30 ms are not drawn: 1 in 100 notes of MAESTRO sounds that short."""
LONGEST_SILENCE = 2.0
"""Seconds between the last sound and the next note, at most, as predicted."""
LONGEST_WAIT = 4.0
"""Seconds between two notes, at most, as predicted."""
SPREAD = {"attributes": 0.0, "cfg": 0.0, "original-logit": 0.35, "logodds": 0.35}
"""Of the tempo between calm and excited, natural logarithm each way (see ``tempo_factor``); led rows get
theirs from the density they are told. ln 2 / 2 is EMOPIA's ratio of densities (Hung et al. 2021)."""
WINDOW = BaselinePreset().window
"""Notes that the emotion score looks back on."""
EVERY = np.ones(len(GROUPS), np.bool_)


@dataclass(eq=False)
class _ExpressiveState(DecoderState):
    own: NDArray[np.float32] = None  # type: ignore[assignment]  # [A] the seed's attributes
    aimed_at: tuple[float, float] | None = None
    """(valence, arousal) that ``aimed`` is for."""
    aimed: NDArray[np.float32] = None  # type: ignore[assignment]  # [A] the target
    step_factor: float = 1.0
    duration_factor: float = 1.0
    key: int | None = None
    """Of the close, once it has begun."""

    @property
    def is_led(self) -> bool:
        return self.mode in CONDITIONED_MODES

    def target(self, valence: float, arousal: float) -> NDArray[np.float32]:
        """[A] what an emotion aims at, worked out when it changes; a strength under 1 aims less far."""
        if self.aimed_at != (valence, arousal):
            self.aimed_at = (valence, arousal)
            self.aimed = target(self.own, valence, arousal, fitted_map())
            far = float(bowed(np.array(self.prompt.strength)))
            if far < 1:
                self.aimed = self.own + np.float32(far) * (self.aimed - self.own)
        return self.aimed

    @property
    def closing(self) -> tuple[float, int | None]:
        notes, seconds = self.length
        return closing(len(self.composed), self.clock, self.chord, notes, seconds)


class _Batch:
    """What is the same for every note of the rows in a batch, worked out when the batch changes."""

    def __init__(self, rows: Sequence[_ExpressiveState], guidance: OriginalGuidance) -> None:
        asked = [row.prompt for row in rows]
        self.modes = [row.mode for row in rows]
        self.led = np.array([index for index, row in enumerate(rows) if row.is_led], np.int64)
        self.weights = np.array([WEIGHT[rows[index].mode] for index in self.led]).reshape(-1, 2)
        self.strength = np.array([request.strength for request in asked])
        self.top_p = np.array([TOP_P if request.top_p is None else request.top_p for request in asked])
        heats = [request.temperature for request in asked]
        self.heat = np.array([1.0 if heat is None else heat for heat in heats])
        """Of step, duration and velocity: the original system's temperature is of its pitches alone."""
        self.pitch_heat = np.array([
            prescribed_temperature(row.mode, guidance) if heat is None else heat
            for row, heat in zip(rows, heats, strict=True)
        ])  # fmt: skip
        self.own = np.array([rows[index].own for index in self.led]).reshape(-1, N_ATTRIBUTES)


class ExpressiveDecoder:
    """Rows of requests for an expressive network."""

    def __init__(
        self,
        network: ExpressiveNetwork,
        preset: ExpressivePreset,
        clusters: EmotionClusters,
        guidance: OriginalGuidance,
        *,
        measuring: bool = False,
    ) -> None:
        self.network, self.preset, self.clusters, self.guidance = network, preset, clusters, guidance
        self.device = network.heads.weight.device
        self.measuring = measuring
        self.states: list[_ExpressiveState] = []
        self.crowd = _Batch((), guidance)
        self.state = network.start(0)
        """[G] of the uncond rows, then of the told ones."""
        self.last = np.empty((0, 4))
        """[B, 4] the last note as the network hears it: pitch, step, duration, velocity bin."""
        self.recent = np.empty((0, RECENT), np.int64)
        self.window = np.empty((0, WINDOW, 3))
        self.played = np.empty((0, preset.lookahead, 4))
        """[B, lookahead, 4] the last composed notes as predicted: pitch, step, duration, velocity."""

    def join(self, waiting: Sequence[tuple[int, Prompt]]) -> None:
        """Take requests, with their places in the answer, into the batch."""
        rows = [self._entering(place, request) for place, request in waiting]
        seeds = [row.prompt.seed[-HEARD:] for row in rows]
        led = [index for index, row in enumerate(rows) if row.is_led]
        nothing = [np.zeros((len(seed) - 1, CONDITIONS), np.float32) for seed in seeds]
        known = [condition(attributes_ahead(seeds[index], self.preset.lookahead)[1:], EVERY) for index in led]
        state = prefilled(self.network, [*seeds, *(seeds[index] for index in led)], [*nothing, *known])
        before, all_before, added = len(self.states), len(self.state.ring), len(rows)
        uncond = [*range(before), *range(all_before, all_before + added)]
        told = [*range(before, all_before), *range(all_before + added, all_before + len(state.ring))]
        self.state = taken(joined(self.state, state), [*uncond, *told])
        self.last = np.concatenate([self.last, [heard_notes(seed)[-1] for seed in seeds]])
        self.recent = np.concatenate([self.recent, [_last_pitches(seed) for seed in seeds]])
        self.window = np.concatenate([self.window, [_last_window(seed) for seed in seeds]])
        self.played = np.concatenate([self.played, np.zeros((added, *self.played.shape[1:]))])
        self.states += rows
        self.crowd = _Batch(self.states, self.guidance)

    def leave(self) -> list[tuple[int, Composed]]:
        """The pieces of the requests that are over, which leave the batch."""
        over = [(row.index, row.piece) for row in self.states if row.is_over]
        if over:
            going = {index for index, row in enumerate(self.states) if row.is_over}
            stay = [index for index in range(len(self.states)) if index not in going]
            led = self.crowd.led.tolist()
            told = [len(self.states) + place for place, index in enumerate(led) if index not in going]
            self.state = taken(self.state, [*stay, *told])
            self.last, self.recent, self.window = self.last[stay], self.recent[stay], self.window[stay]
            self.played = self.played[stay]
            self.states = [self.states[index] for index in stay]
            self.crowd = _Batch(self.states, self.guidance)
        return over

    @torch.inference_mode()
    def decode_step(self) -> None:
        """One more note for each row."""
        rows = self.states
        drawn = np.array([row.generator.random(6) for row in rows])
        emotions = np.array([row.emotion for row in rows])
        led = self.crowd.led
        moved = np.zeros(len(rows)) if self.measuring else None
        lead = Lead(led, self.crowd.weights, self.crowd.strength[led], moved)
        told = self._told(emotions)
        context = self._listen(told)
        added = self.network.told_heads(told)
        ends = [row.closing for row in rows]

        step = self._step(lead.mixed(self.network.step_logits(context, added)), context, ends, drawn)
        own = self.network.pitch_logits(context, added, lead.both(step, self.device))
        leant = self._bent(lead.mixed_pitches(own), step, emotions)
        lead.note_move(leant, own)
        pitch = self._pitch(leant, ends, drawn[:, 2])
        decided = lead.both(step, self.device), lead.both(pitch, self.device)
        duration = self._duration(
            lead.mixed(self.network.duration_logits(context, added, *decided)),
            context,
            step,
            ends,
            drawn[:, 3:5],
        )
        note = Decided(*decided, lead.both(duration, self.device))
        velocity = self._velocity(lead.mixed(self.network.velocity_logits(context, added, note)), drawn[:, 5])
        if moved is not None:
            for row, far in zip(rows, moved.tolist(), strict=True):
                row.divergence += far
        self._take(
            np.stack([pitch, step, duration, velocity_bins(velocity)], axis=1), velocity, emotions, ends
        )

    def _entering(self, place: int, request: Prompt) -> _ExpressiveState:
        generator = np.random.default_rng(request.random_seed)
        gamma, delta = generator.normal(1.0, self.guidance.sigma, size=2)  # in every mode alike
        row = _ExpressiveState(place, request, generator)
        seed = request.seed[-self.preset.lookahead :]
        row.own = attributes_ahead(seed, self.preset.lookahead, 1)[0]
        if row.mode in GAMMA:
            valence = request.emotion_at(0.0)[0]
            row.step_factor = time_factor(valence, request.strength, GAMMA[row.mode](float(gamma)))
            row.duration_factor = time_factor(valence, request.strength, GAMMA[row.mode](float(delta)))
        return row

    def _told(self, emotions: Floats) -> Tensor:
        """[G, 1, A + G] the condition of each row of the network."""
        led = self.crowd.led
        told = np.zeros((len(self.states) + len(led), 1, CONDITIONS), np.float32)
        if len(led):
            rows = [self.states[index] for index in led]
            count = np.array([len(row.composed) for row in rows])
            aimed = np.stack([
                row.target(valence, arousal)
                for row, (valence, arousal) in zip(rows, emotions[led].tolist(), strict=True)
            ])  # fmt: skip
            achieved = played(self.played[led], count)
            wanted = steered(self.crowd.own, aimed, achieved, count, self.played.shape[1])
            told[len(self.states) :, 0] = condition(wanted, EVERY)
        return torch.from_numpy(told).to(self.device)

    def _listen(self, told: Tensor) -> Context:
        """What is known after the last note of each row, uncond rows first."""
        last = np.concatenate([self.last, self.last[self.crowd.led]])
        numbers = torch.from_numpy(last[:, None, [0, 3]].astype(np.int64)).to(self.device)
        seconds = torch.from_numpy(last[:, None, 1:3].astype(np.float32)).to(self.device)
        heard = Heard(numbers[..., 0], seconds[..., 0], seconds[..., 1], numbers[..., 1])
        context, self.state = self.network.listen(heard, told, self.state)
        return context

    def _draw(self, logits: Floats, drawn: Floats, *, of_pitch: bool = False) -> NDArray[np.int64]:
        """[B] choices."""
        heat = self.crowd.pitch_heat if of_pitch else self.crowd.heat
        return draw(logits, heat, self.crowd.top_p, drawn)

    def _step(
        self, logits: Floats, context: Context, ends: Sequence[tuple[float, int | None]], drawn: Floats
    ) -> Floats:
        """[B] seconds until the next note, without holes; the notes of the close are struck together."""
        ring = context.ring[: len(self.states), 0].cpu().numpy().astype(np.float64)
        latest = np.minimum(ring + LONGEST_SILENCE, LONGEST_WAIT)
        latest = np.where([bool(chord) for _, chord in ends], TOGETHER - 0.001, latest)
        logits = np.where(latest[:, None] >= STEP_EDGES, logits, -np.inf)
        return np.minimum(within_bins(self._draw(logits, drawn[:, 0]), STEP_EDGES, drawn[:, 1]), latest)

    def _bent(self, logits: Floats, step: Floats, emotions: Floats) -> Floats:
        """[B, 128] pitch logits as the emotion bends them."""
        played = Played(
            window=self.window,
            recent=self.recent,
            step=step,
            duration=self.window[:, :, 2].mean(axis=1),
            valence=emotions[:, 0],
            strength=self.crowd.strength,
        )
        return bent(self.crowd.modes, logits, played, self.clusters, self.guidance)

    def _pitch(
        self, logits: Floats, ends: Sequence[tuple[float, int | None]], drawn: Floats
    ) -> NDArray[np.int64]:
        """[B] pitches, out of loops and into the close."""
        logits = np.where(looping(self.recent), -np.inf, logits)
        for index, (_, chord) in enumerate(ends):
            if chord is not None:
                possible = chord_pitches(self._key(index), chord, int(self.recent[index, -1]))
                logits[index] = np.where(possible, np.maximum(logits[index], -1e9), -np.inf)
        return self._draw(logits, drawn, of_pitch=True)

    def _key(self, index: int) -> int:
        """The key that a row closes in: that of its last notes, of the mode that its valence asks for."""
        row = self.states[index]
        if row.key is None:
            pitches = [pitch for _, _, pitch, _ in row.composed[-self.preset.lookahead :]]
            valence = row.prompt.emotion_at(row.clock)[0] if row.is_led else 0.0
            row.key = key_for(pitch_classes(np.array(pitches)), valence if abs(valence) > 0.5 else 0.0)
        return row.key

    def _duration(
        self,
        logits: Floats,
        context: Context,
        step: Floats,
        ends: Sequence[tuple[float, int | None]],
        drawn: Floats,
    ) -> Floats:
        """[B] seconds; a note drawn to end with what sounds already ends exactly with it."""
        logits[:, :SHORTEST_BIN] = -np.inf
        chosen = self._draw(logits, drawn[:, 0])
        seconds = within_bins(chosen, DURATION_EDGES, drawn[:, 1])
        for sounding in (context.ring, context.duration):
            left = sounding[: len(self.states), 0].cpu().numpy().astype(np.float64) - step
            seconds = np.where((left > 0) & (bins_of(left, DURATION_EDGES) == chosen), left, seconds)
        return np.where([chord is not None for _, chord in ends], CLOSE_SECONDS, seconds)

    def _velocity(self, logits: Floats, drawn: Floats) -> NDArray[np.int64]:
        """[B] velocities 1..127: the middle of the drawn bin."""
        return np.maximum(1, self._draw(logits, drawn) * VELOCITY_WIDTH + VELOCITY_WIDTH // 2)

    def _take(
        self,
        notes: Floats,
        velocity: NDArray[np.int64],
        emotions: Floats,
        ends: Sequence[tuple[float, int | None]],
    ) -> None:
        """Notes into the network's past as predicted, and into the music as they are heard."""
        self.last = notes
        self.recent = np.concatenate([self.recent[:, 1:], notes[:, :1].astype(np.int64)], axis=1)
        encoded = notes[:, None, :3] / np.array([N_PITCHES, 1, 1])
        self.window = np.concatenate([self.window[:, 1:], encoded], axis=1)
        heard = np.concatenate([notes[:, :3], velocity[:, None]], axis=1)
        self.played = np.concatenate([self.played[:, 1:], heard[:, None]], axis=1)
        for row, (pitch, step, duration, _), loud, (_, arousal), (slowing, chord) in zip(
            self.states, notes.tolist(), velocity.tolist(), emotions.tolist(), ends, strict=True
        ):
            spread = SPREAD.get(row.mode, 0.0)
            tempo = tempo_factor(arousal, row.prompt.strength, spread) if spread else 1.0
            row.hear(
                step * row.step_factor * tempo * slowing,
                duration * row.duration_factor * tempo * slowing if chord is None else duration,
                int(pitch), loud,
            )  # fmt: skip
            row.chord = 0 if chord is None else chord + 1
            assert row.chord <= CHORD


def _last_pitches(seed: Notes) -> NDArray[np.int64]:
    """[RECENT] the last pitches of a seed, -1 before its first."""
    pitches = seed["pitch"][-RECENT:].astype(np.int64)
    return np.concatenate([np.full(RECENT - len(pitches), -1), pitches])


def _last_window(seed: Notes) -> Floats:
    """[WINDOW, 3] the last notes of a seed in the baseline preset's units; a short one is repeated."""
    x = encode(seed)[-WINDOW:].astype(np.float64)
    return np.tile(x, (-(-WINDOW // len(x)), 1))[-WINDOW:]
