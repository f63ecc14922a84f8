"""The expressive network: all notes so far to a distribution for each property of the next note.

Conventions
-----------
A note goes into two LSTM layers as the sum of embeddings; the sum of both layers' outputs feeds four heads. A
note is decided in the order step, pitch, duration, velocity, and each head is given what was decided before
it: ``p(note) = p(step) p(pitch | step) p(duration | step, pitch) p(velocity | all three)``.

Two things that an LSTM would have to count are computed for it. ``decayed_onsets``: how long ago each pitch
was last struck, as exponentials. ``sounding_remaining``: how long what sounds goes on; under a pedal notes
end together, and then the next duration is known. A condition (see ``dataset/attributes.py``) is added at the
network's input and at its heads; a group of attributes that is left out is zero, with a zero in the column
that says so.

Letters: **B** sequences, **T** notes, **A** = 16 attributes, **G** = 5 groups of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from emoray.config import ExpressivePreset
from emoray.dataset.attributes import GROUPS, N_ATTRIBUTES
from emoray.dataset.bins import DURATION_BINS, DURATION_EDGES, STEP_BINS, STEP_EDGES, VELOCITY_BINS
from emoray.model.matrix import Matrix, matrix_of
from emoray.notes import N_PITCHES

CONDITION_WIDTH = N_ATTRIBUTES + len(GROUPS)
"""Columns of a condition: attributes, then one for each group that says whether it is given."""
DECAY_TIMES = (0.1, 1.0, 8.0)
"""Seconds in which the trace of an onset decays to 1 / e."""
LEAST_EXPONENT = -80.0
"""Natural logarithm of the smallest trace: numbers below it are subnormal, and slow."""
LONG_AGO = 100.0
"""Seconds: the age of a pitch that was never struck."""
LONGEST_INTERVAL = 36
"""Semitones between two notes that have an embedding of their own; wider intervals share one."""
DENSE = (
    "decayed_onsets", "condition", "condition_heads", "heads", "step_out", "pitch_out", "duration_out",
    "velocity_out",
)  # fmt: skip
"""Dense layers, each a matrix once the network is prepared."""


class NoteInputs(NamedTuple):
    """Notes as the network reads them, [B, T] each."""

    pitch: Tensor
    step: Tensor
    """Seconds since the note before; that of a sequence's first note is 0."""
    duration: Tensor
    """Seconds."""
    velocity: Tensor
    """Bins."""


class State(NamedTuple):
    """What is carried from note to note; a row for each sequence."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    """(h, c) of each LSTM layer, [1, B, hidden]."""
    ages: Tensor
    """[B, 128] seconds since each pitch was struck, at the last onset."""
    sounding_remaining: Tensor
    """[B] seconds from the last onset until all is silent."""
    pitch: Tensor
    """[B] the last pitch."""

    def rows(self, places: Iterable[int]) -> State:
        """Some sequences, in the order asked for."""
        index = torch.tensor(list(places), dtype=torch.long, device=self.pitch.device)
        layers = tuple((h[:, index], c[:, index]) for h, c in self.layers)
        return State(layers, *(part[index] for part in self[1:]))

    def joined(self, other: State) -> State:
        """The sequences of both."""
        layers = tuple(
            (torch.cat([h, h2], dim=1), torch.cat([c, c2], dim=1))
            for (h, c), (h2, c2) in zip(self.layers, other.layers, strict=True)
        )
        return State(layers, *(torch.cat(pair) for pair in zip(self[1:], other[1:], strict=True)))

    def detached(self) -> State:
        """The same numbers, cut from the gradient."""
        layers = tuple((h.detach().float(), c.detach().float()) for h, c in self.layers)
        return State(layers, *(part.detach() for part in self[1:]))


class Context(NamedTuple):
    """What is known after each note, before the next one is decided; [B, T, ...] each."""

    heads: tuple[Tensor, ...]
    """Four of [B, T, head]: what each head starts from, without the condition."""
    decayed_onsets: Tensor
    """[B, T, head]: what the pitch head reads of the pitches struck lately."""
    duration: Tensor
    """[B, T] seconds that the last note sounds, from its onset."""
    sounding_remaining: Tensor
    """[B, T] seconds from the last onset until all is silent."""


class Decided(NamedTuple):
    """What is already decided of the next note, [B, T] each."""

    step: Tensor
    """Seconds."""
    pitch: Tensor
    duration: Tensor
    """Seconds."""


class ExpressiveNetwork(nn.Module):
    """Embeddings, stacked LSTM layers, four heads in a row.

    Once it is ``prepared``, inference runs on matrices laid out for it, and a sequence has the same bits in
    any batch (see ``matrix.py``); training and gradients always run on the parameters.
    """

    step_edges: Tensor
    duration_edges: Tensor
    rates: Tensor

    def __init__(self, preset: ExpressivePreset) -> None:
        super().__init__()
        width, hidden, head = preset.embedding, preset.hidden, preset.head
        self.hidden, self.head, self.dropout = hidden, head, preset.dropout
        self.pitch = nn.Embedding(N_PITCHES, width)
        self.interval = nn.Embedding(2 * LONGEST_INTERVAL + 1, width)
        self.step = nn.Embedding(STEP_BINS, width)
        self.duration = nn.Embedding(DURATION_BINS, width)
        self.velocity = nn.Embedding(VELOCITY_BINS, width)
        self.decayed_onsets = nn.Linear(len(DECAY_TIMES) * N_PITCHES, width + head, bias=False)
        self.condition = nn.Linear(CONDITION_WIDTH, width + 4 * head)
        widths = [width, *[hidden] * preset.layers]
        self.lstm = nn.ModuleList(
            nn.LSTM(before, hidden, batch_first=True) for before in widths[: preset.layers]
        )
        self.heads = nn.Linear(hidden, 4 * head)
        self.step_known = nn.Embedding(STEP_BINS, 3 * head)
        self.pitch_known = nn.Embedding(N_PITCHES, 2 * head)
        self.duration_known = nn.Embedding(DURATION_BINS, head)
        self.last_remaining = nn.Embedding(DURATION_BINS + 1, head)
        self.all_remaining = nn.Embedding(DURATION_BINS + 1, head)
        self.step_out = nn.Linear(head, STEP_BINS)
        self.pitch_out = nn.Linear(head, N_PITCHES)
        self.duration_out = nn.Linear(head, DURATION_BINS)
        self.velocity_out = nn.Linear(head, VELOCITY_BINS)
        self.register_buffer("step_edges", _inner(STEP_EDGES), persistent=False)
        self.register_buffer("duration_edges", _inner(DURATION_EDGES), persistent=False)
        self.register_buffer("rates", 1 / torch.tensor(DECAY_TIMES), persistent=False)
        self.matrices: dict[str, Matrix] = {}
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.05)

    def prepared(self) -> Self:
        """This network, ready to compose with the weights that it has now, where it is now."""
        self.matrices = {name: matrix_of(*self._layer(name)) for name in DENSE}
        for index, lstm in enumerate(self.lstm):
            weight_input, weight_recurrent, *biases = (_sigmoids_first(part) for part in lstm.parameters())
            self.matrices[f"input {index}"] = matrix_of(weight_input, sum(biases, start=torch.zeros(())))
            self.matrices[f"recurrent {index}"] = matrix_of(weight_recurrent)
        return self

    def start(self, rows: int) -> State:
        """The state of sequences before their first note."""
        weight = self.heads.weight

        def zeros() -> Tensor:
            return weight.new_zeros(1, rows, self.hidden)

        return State(
            layers=tuple((zeros(), zeros()) for _ in self.lstm),
            ages=weight.new_full((rows, N_PITCHES), LONG_AGO),
            sounding_remaining=weight.new_zeros(rows),
            pitch=torch.full((rows,), -1, device=weight.device),
        )

    def read(self, inputs: NoteInputs, condition: Tensor, state: State) -> tuple[Context, State]:
        """Read T notes.

        Args:
            inputs: T notes of each sequence.
            condition: [B, T, A + G] the condition at each note.
            state: that after the notes before.

        Returns:
            What is known after each of them, and the state after the last.
        """
        total, for_pitch, remaining, after = self._advanced(inputs, condition, state)
        total = functional.dropout(total, self.dropout, self.training)
        return Context(_four(self._dense("heads", total)), for_pitch, inputs.duration, remaining), after

    def prefill(self, inputs: NoteInputs, condition: Tensor, state: State) -> State:
        """The state that ``read`` returns, without the rest."""
        return self._advanced(inputs, condition, state)[-1]

    def _advanced(
        self, inputs: NoteInputs, condition: Tensor, state: State
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        """Sum of layers [B, T, hidden], decayed onsets [B, T, head], sounding remaining [B, T], state."""
        decayed, ages = self._decayed_onsets(inputs, state)
        before = torch.cat([state.pitch[:, None], inputs.pitch[:, :-1]], dim=1)
        apart = (inputs.pitch - before).clamp(-LONGEST_INTERVAL, LONGEST_INTERVAL) + LONGEST_INTERVAL
        interval = self.interval(apart) * (before >= 0)[..., None]
        mixed, for_pitch = torch.split(
            self._dense("decayed_onsets", decayed), [self.pitch.embedding_dim, self.head], dim=-1
        )
        x = (
            self.pitch(inputs.pitch)
            + interval
            + self.step(self.step_bin(inputs.step))
            + self.duration(self.duration_bin(inputs.duration))
            + self.velocity(inputs.velocity)
            + mixed
            + self._dense("condition", condition)
        )
        total: Tensor | None = None
        layers = []
        for index, carried in enumerate(state.layers):
            x, after = self._lstm_layer(index, functional.dropout(x, self.dropout, self.training), carried)
            layers.append(after)
            total = x if total is None else total + x
        assert total is not None
        remaining = _sounding_remaining(inputs, state.sounding_remaining)
        return total, for_pitch, remaining, State(tuple(layers), ages, remaining[:, -1], inputs.pitch[:, -1])

    def _layer(self, name: str) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of a dense layer; ``condition`` is the part of that layer for the input."""
        width = self.pitch.embedding_dim
        if name == "condition":
            return self.condition.weight[:width], self.condition.bias[:width]
        if name == "condition_heads":
            return self.condition.weight[width:], self.condition.bias[width:]
        layer = getattr(self, name)
        return layer.weight, layer.bias

    def _dense(self, name: str, x: Tensor) -> Tensor:
        """[..., K] to [..., O] through a dense layer."""
        if self.matrices and torch.is_inference_mode_enabled():
            return self.matrices[name](x)
        return functional.linear(x, *self._layer(name))

    def _lstm_layer(
        self, index: int, x: Tensor, carried: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """[B, T, K] to [B, T, hidden] through an LSTM layer, and what it carries on."""
        if not (self.matrices and torch.is_inference_mode_enabled()):
            found: tuple[Tensor, tuple[Tensor, Tensor]] = self.lstm[index](x, carried)
            return found
        from_inputs, recurrent = self.matrices[f"input {index}"], self.matrices[f"recurrent {index}"]
        (hidden, cell), out = (part[0] for part in carried), []
        sums = from_inputs(x.transpose(0, 1))
        for from_input in sums:
            gates = recurrent(hidden).add_(from_input)
            sigmoids = torch.sigmoid(gates[:, : 3 * self.hidden])
            input_gate, forget_gate, output_gate = sigmoids.chunk(3, dim=1)
            cell = forget_gate * cell
            cell.addcmul_(input_gate, torch.tanh(gates[:, 3 * self.hidden :]))
            hidden = output_gate * torch.tanh(cell)
            out.append(hidden)
        return torch.stack(out, dim=1), (hidden[None], cell[None])

    def _decayed_onsets(self, inputs: NoteInputs, state: State) -> tuple[Tensor, Tensor]:
        """[B, T, 3 x 128] traces of each pitch's last onset after each note; ages [B, 128] after the last."""
        onset = inputs.step.cumsum(dim=1)
        struck = torch.full((*onset.shape, N_PITCHES), -2 * LONG_AGO, device=onset.device)
        struck.scatter_(2, inputs.pitch[..., None], onset[..., None])
        struck[:, 0] = torch.maximum(struck[:, 0], -state.ages)
        ages = (onset[..., None] - struck.cummax(dim=1).values).clamp(max=LONG_AGO)
        decayed = torch.exp((ages[..., None, :] * -self.rates[:, None]).clamp(min=LEAST_EXPONENT))
        return decayed.flatten(-2), ages[:, -1]

    def head_condition(self, condition: Tensor) -> tuple[Tensor, ...]:
        """[B, T, A + G] conditions to what they add to each head, four of [B, T, head]."""
        return _four(self._dense("condition_heads", condition))

    def step_logits(self, context: Context, added: tuple[Tensor, ...]) -> Tensor:
        """[B, T, step bins]."""
        return self._dense("step_out", functional.gelu(context.heads[0] + added[0]))

    def pitch_logits(self, context: Context, added: tuple[Tensor, ...], step: Tensor) -> Tensor:
        """[B, T, 128] given the step, seconds."""
        known = self._known(self.step_known, self.step_bin(step), 0)
        known = known + context.decayed_onsets
        return self._dense("pitch_out", functional.gelu(context.heads[1] + added[1] + known))

    def duration_logits(
        self, context: Context, added: tuple[Tensor, ...], step: Tensor, pitch: Tensor
    ) -> Tensor:
        """[B, T, duration bins] given step (seconds) and pitch."""
        known = self._known(self.step_known, self.step_bin(step), 1)
        known = known + self._known(self.pitch_known, pitch, 0)
        known = known + self.last_remaining(self._left(context.duration - step))
        known = known + self.all_remaining(self._left(context.sounding_remaining - step))
        return self._dense("duration_out", functional.gelu(context.heads[2] + added[2] + known))

    def velocity_logits(self, context: Context, added: tuple[Tensor, ...], decided: Decided) -> Tensor:
        """[B, T, velocity bins] given the rest of the note."""
        known = self._known(self.step_known, self.step_bin(decided.step), 2)
        known = known + self._known(self.pitch_known, decided.pitch, 1)
        known = known + self.duration_known(self.duration_bin(decided.duration))
        return self._dense("velocity_out", functional.gelu(context.heads[3] + added[3] + known))

    def forward(
        self, inputs: NoteInputs, condition: Tensor, state: State, following: Decided
    ) -> tuple[Tensor, ...]:
        """All logits (step, pitch, duration, velocity) of the notes that followed, then the flat state."""
        context, after = self.read(inputs, condition, state)
        added = self.head_condition(condition)
        logits = (
            self.step_logits(context, added),
            self.pitch_logits(context, added, following.step),
            self.duration_logits(context, added, following.step, following.pitch),
            self.velocity_logits(context, added, following),
        )
        return (*logits, *(part for layer in after.layers for part in layer), *after[1:])

    def step_bin(self, seconds: Tensor) -> Tensor:
        """[...] seconds to bins."""
        return torch.bucketize(seconds.contiguous(), self.step_edges, right=True)

    def duration_bin(self, seconds: Tensor) -> Tensor:
        """[...] seconds to bins."""
        return torch.bucketize(seconds.contiguous(), self.duration_edges, right=True)

    def _left(self, seconds: Tensor) -> Tensor:
        """[...] seconds left to sound to bins, with one more (the first) for silence."""
        return torch.where(seconds > 0, self.duration_bin(seconds) + 1, 0)

    def _known(self, table: nn.Embedding, number: Tensor, head: int) -> Tensor:
        """One head's part of an embedding for several heads."""
        return functional.embedding(number, table.weight[:, head * self.head : (head + 1) * self.head])


def _four(x: Tensor) -> tuple[Tensor, ...]:
    """[B, T, 4 x head] to four of [B, T, head]; split, because slices cost a gradient of full width each."""
    return x.chunk(4, dim=-1)


def _sigmoids_first(gates: Tensor) -> Tensor:
    """[4 x hidden, ...] gates in torch's order (input, forget, cell, output), with the cell's last."""
    input_gate, forget_gate, cell_gate, output_gate = gates.chunk(4)
    return torch.cat([input_gate, forget_gate, output_gate, cell_gate])


def _inner(edges: np.ndarray) -> Tensor:
    """Edges between bins, a hair lower, as ``dataset/bins.py`` does it."""
    return torch.from_numpy(edges[1:] - 1e-6).float()


def _sounding_remaining(inputs: NoteInputs, before: Tensor) -> Tensor:
    """[B, T] seconds from each onset until all that was struck so far is silent."""
    onset = inputs.step.cumsum(dim=1)
    silent = torch.cat([before[:, None], onset + inputs.duration], dim=1).cummax(dim=1).values
    return (silent[:, 1:] - onset).clamp(min=0)
