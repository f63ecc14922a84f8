"""Likelihood: the negative log-likelihood of held-out pieces, in nats a note, and that of reference models.

Conventions
-----------
Every note with at least 25 notes before it in its piece is one prediction, and all models predict the same
notes. The functions return sums and counts, so that shards of a corpus add up. Times are on one grid for
every model (``evaluate/reference_models.py``). The squared-error heads of the baseline preset are read as
normal densities whose variance is their mean squared error on the validation split. ``total_nll`` is pitch +
step + duration; velocity is reported apart.

Durations are key-down for the baseline preset and include the sustain pedal for the expressive preset. Each
has its own reference (``unigram.duration_nll`` and ``unigram.duration_with_pedal_nll``).

Letters: **B** pieces, **N** notes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emoray.config import ExpressivePreset
from emoray.dataset.attributes import GROUPS
from emoray.dataset.bins import DURATION_EDGES, STEP_EDGES, VELOCITY_WIDTH
from emoray.dataset.spans import Spans, stacked
from emoray.dataset.windows import DURATION, PITCH, STEP, encode, window_starts, windows_at
from emoray.evaluate.reference_models import (
    CONTEXT_NOTES,
    TrainingCounts,
    bins_on_grid,
    cells_of,
    normal_on_grid,
    reference_sums,
    summed,
)
from emoray.model.baseline import BaselineNetwork
from emoray.model.checkpoint import Checkpoint
from emoray.model.expressive import Decided, ExpressiveNetwork, NoteInputs, State
from emoray.notes import N_PITCHES, Notes

Sums = dict[str, float]
Deviations = tuple[float, float]
"""Standard deviations of the normal densities of step and duration, in seconds."""

CHUNK_NOTES, PIECES_AT_ONCE = 256, 16
"""Notes of a chunk and pieces of a batch in the expressive network."""
NOTE_PARTS = ("pitch", "step", "duration", "velocity")
UNIT_DEVIATIONS: Deviations = (1.0, 1.0)


def likelihood_sums(
    checkpoint: Checkpoint,
    pieces: Sequence[tuple[Notes, Notes]],
    counts: TrainingCounts,
    deviations: Deviations = UNIT_DEVIATIONS,
) -> Sums:
    """Sums over all notes of ``pieces`` that have 25 notes before them; ``notes`` is their number.

    Args:
        checkpoint: of either preset.
        pieces: each with key-down durations and with durations that include the pedal.
        counts: of the training split, for the reference models.
        deviations: of the baseline preset's normal densities.
    """
    long = [pair for pair in pieces if len(pair[0]) > CONTEXT_NOTES]
    parts = [reference_sums(*pair, counts) for pair in long]
    if isinstance(checkpoint.network, BaselineNetwork):
        window = checkpoint.preset.window  # type: ignore[union-attr]
        parts += [baseline_sums(checkpoint.network, key_down, window, deviations) for key_down, _ in long]
    else:
        by_length = sorted((sounding for _, sounding in long), key=len)
        for first in range(0, len(by_length), PIECES_AT_ONCE):
            parts.append(expressive_sums(checkpoint, by_length[first : first + PIECES_AT_ONCE]))
    parts.append({"notes": float(sum(len(key_down) - CONTEXT_NOTES for key_down, _ in long))})
    return summed(parts)


@torch.inference_mode()
def baseline_sums(network: BaselineNetwork, notes: Notes, window: int, deviations: Deviations) -> Sums:
    """Nats and squared errors of one piece with key-down durations."""
    table = encode(notes)
    starts = window_starts(np.array([len(notes)]), window)
    starts = starts[starts + window >= CONTEXT_NOTES]
    device = network.pitch.weight.device
    found = []
    for first in range(0, len(starts), 2048):
        x, y = windows_at(table, starts[first : first + 2048], window)
        prediction = network(torch.from_numpy(x).to(device))
        log_probabilities = torch.log_softmax(prediction.logits.double(), dim=1).cpu().numpy()
        step, duration = (part.double().cpu().numpy() for part in (prediction.step, prediction.duration))
        found.append(
            pitch_sums(log_probabilities, np.rint(y[:, PITCH] * N_PITCHES).astype(int))
            | {
                "step_nll": float(-normal_on_grid(step, deviations[0], cells_of(y[:, STEP])).sum()),
                "duration_nll": float(
                    -normal_on_grid(duration, deviations[1], cells_of(y[:, DURATION])).sum()
                ),
                "step_mse": float(((step - y[:, STEP]) ** 2).sum()),
                "duration_mse": float(((duration - y[:, DURATION]) ** 2).sum()),
            }
        )
    return summed(found)


def expressive_sums(checkpoint: Checkpoint, pieces: Sequence[Notes], first: int = CONTEXT_NOTES) -> Sums:
    """Unconditional nats of pieces whose durations include the pedal, from note ``first`` of each on."""
    return summed([
        {f"{name}_nll": float(row[name].sum()) for name in NOTE_PARTS}
        | {name: float(row[name].sum()) for name in ("pitch_top1", "pitch_top5")}
        for row in expressive_nats(checkpoint, pieces, [first] * len(pieces))
    ])  # fmt: skip


def expressive_nats(
    checkpoint: Checkpoint, pieces: Sequence[Notes], first: Sequence[int]
) -> list[dict[str, NDArray[np.float64]]]:
    """Unconditional nats of each note of each piece, from note ``first`` of the piece on, by part.

    ``pitch_top1`` and ``pitch_top5`` are 1 where the pitch was the most probable, or among the five most
    probable, and else 0.
    """
    network, preset = checkpoint.network, checkpoint.preset
    assert isinstance(network, ExpressiveNetwork)
    assert isinstance(preset, ExpressivePreset)
    longest = max(len(piece) for piece in pieces)
    preset = dataclasses.replace(preset, span=longest, chunk=CHUNK_NOTES)
    unconditional = np.zeros(len(GROUPS), np.bool_)
    spans = stacked(pieces, preset, [unconditional] * len(pieces))
    state, found = network.start(len(pieces)), []
    for chunk in spans.chunks(CHUNK_NOTES):
        nats, state = _chunk_nats(network, chunk, state)
        found.append(nats)
    whole = {name: np.concatenate([nats[name] for nats in found], axis=1) for name in found[0]}
    return [
        {name: values[index, start - 1 : len(piece) - 1] for name, values in whole.items()}
        for index, (piece, start) in enumerate(zip(pieces, first, strict=True))
    ]


@torch.no_grad()
def _chunk_nats(
    network: ExpressiveNetwork, chunk: Spans, state: State
) -> tuple[dict[str, NDArray[np.float64]], State]:
    """[B, T] nats of the note after each note, by part."""
    device = network.heads.weight.device
    pitch, step, duration, velocity, condition = (
        torch.from_numpy(array).to(device)
        for array in (chunk.pitch, chunk.step, chunk.duration, chunk.velocity, chunk.condition)
    )
    following = Decided(step[:, 1:], pitch[:, 1:], duration[:, 1:])
    out = network(
        NoteInputs(pitch[:, :-1], step[:, :-1], duration[:, :-1], velocity[:, :-1]),
        condition,
        state,
        following,
    )
    layers = len(state.layers)
    after = State(
        tuple(zip(out[4 : 4 + 2 * layers : 2], out[5 : 5 + 2 * layers : 2], strict=True)),
        *out[4 + 2 * layers :],
    )
    steps, pitches, durations, velocities = (
        torch.log_softmax(part.float(), dim=-1).flatten(0, 1).cpu().numpy().astype(np.float64)
        for part in out[:4]
    )
    true = chunk.pitch[:, 1:].ravel()
    rows = np.arange(len(true))
    rank = (pitches > pitches[rows, true][:, None]).sum(axis=1)
    flat = {
        "pitch": -pitches[rows, true],
        "step": -bins_on_grid(steps, STEP_EDGES, cells_of(chunk.step[:, 1:].ravel())),
        "duration": -bins_on_grid(durations, DURATION_EDGES, cells_of(chunk.duration[:, 1:].ravel())),
        "velocity": -velocities[rows, chunk.velocity[:, 1:].ravel()] + math.log(VELOCITY_WIDTH),
        "pitch_top1": (rank < 1).astype(np.float64),
        "pitch_top5": (rank < 5).astype(np.float64),
    }
    return {name: values.reshape(chunk.mask.shape) for name, values in flat.items()}, after


def nats_after_seeds(checkpoint: Checkpoint, seeds: Sequence[Notes], composed: Sequence[Notes]) -> float:
    """Unconditional nats a note (pitch + step + duration) of composed notes, given the seeds before them.

    The baseline preset's densities have the standard deviations ``UNIT_DEVIATIONS``: its figures compare with
    each other only.
    """
    whole = [np.concatenate(pair) for pair in zip(seeds, composed, strict=True)]
    total = 0.0
    if isinstance(checkpoint.network, BaselineNetwork):
        window = checkpoint.preset.window  # type: ignore[union-attr]
        for notes, seed in zip(whole, seeds, strict=True):
            sums = baseline_sums(
                checkpoint.network, notes[max(0, len(seed) - window) :], window, UNIT_DEVIATIONS
            )
            total += sums["pitch_nll"] + sums["step_nll"] + sums["duration_nll"]
    else:
        for first in range(0, len(whole), PIECES_AT_ONCE):
            some = slice(first, first + PIECES_AT_ONCE)
            for row in expressive_nats(checkpoint, whole[some], [len(seed) for seed in seeds[some]]):
                total += float((row["pitch"] + row["step"] + row["duration"]).sum())
    return total / sum(len(notes) for notes in composed)


def pitch_sums(log_probabilities: NDArray[np.float64], pitch: NDArray[np.int64]) -> Sums:
    """Nats and ranks of the observed pitches."""
    rows = np.arange(len(pitch))
    rank = (log_probabilities > log_probabilities[rows, pitch][:, None]).sum(axis=1)
    return {
        "pitch_nll": float(-log_probabilities[rows, pitch].sum()),
        "pitch_top1": float((rank < 1).sum()),
        "pitch_top5": float((rank < 5).sum()),
    }


def likelihood_report(sums: Sums) -> dict[str, Any]:
    """Means a note: those of the network, and under ``reference_models`` those of each reference model."""
    report: dict[str, Any] = {"notes": int(sums["notes"])}
    references: dict[str, dict[str, float]] = {}
    for name, value in sums.items():
        *model, measure = name.split(".")
        if measure != "notes":
            row = references.setdefault(model[0], {}) if model else report
            row[measure] = value / sums["notes"]
    for row in (report, references["uniform"], references["unigram"]):
        row["total_nll"] = row["pitch_nll"] + row["step_nll"] + row["duration_nll"]
    return report | {"reference_models": references}
