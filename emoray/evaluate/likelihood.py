"""Likelihood: how well held-out pieces are predicted, in nats a note, beside rules that only count.

Conventions
-----------
Every note that has a whole window before it in its own piece is one prediction; all models are asked for
the same notes. Sums and counts travel, so that shards of a corpus add up. Counting rows: ``uniform``
(128 pitches), ``unigram`` (frequencies of the training split, one added to each), ``unigram_recent`` (half
unigram, half histogram of the window). Times: the mean squared error, in seconds squared, of the network
and of the training mean.

Letters: **W** windows, **T** notes of context.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emoray.dataset.windows import DURATION, PITCH, STEP, encode, window_starts, windows_at
from emoray.model.network import SeedNetwork
from emoray.notes import N_PITCHES, Notes

Sums = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class TrainingCounts:
    """What counting knows of the training split."""

    pitches: NDArray[np.float64]
    """[128] how often each pitch was played."""
    mean_step: float
    mean_duration: float

    @property
    def unigram(self) -> NDArray[np.float64]:
        """[128] chances, one added to each count so that none is 0."""
        return (self.pitches + 1) / (self.pitches + 1).sum()


def counted(pieces: Iterable[Notes]) -> NDArray[np.float64]:
    """[131] pitch counts, then summed steps, summed durations and notes: shards add up."""
    total = np.zeros(N_PITCHES + 3)
    for notes in pieces:
        x = encode(notes).astype(np.float64)
        total[:N_PITCHES] += np.bincount(notes["pitch"], minlength=N_PITCHES)
        total[N_PITCHES:] += x[:, STEP].sum(), x[:, DURATION].sum(), len(notes)
    return total


def training_counts(total: NDArray[np.float64]) -> TrainingCounts:
    """What ``counted`` adds up to."""
    step, duration, notes = total[N_PITCHES:]
    return TrainingCounts(pitches=total[:N_PITCHES], mean_step=step / notes, mean_duration=duration / notes)


def likelihood_sums(
    network: SeedNetwork, pieces: Iterable[Notes], counts: TrainingCounts, *, window: int, batch: int = 2048
) -> Sums:
    """Sums over all notes of ``pieces`` that have a window before them; ``notes`` says how many."""
    sums: Sums = {}
    for notes in pieces:
        table = encode(notes)
        starts = window_starts(np.array([len(notes)]), window)
        for first in range(0, len(starts), batch):
            x, y = windows_at(table, starts[first : first + batch], window)
            for name, value in _batch_sums(network, x, y, counts).items():
                sums[name] = sums.get(name, 0.0) + value
    return sums


@torch.inference_mode()
def _batch_sums(
    network: SeedNetwork, x: NDArray[np.float32], y: NDArray[np.float32], counts: TrainingCounts
) -> Sums:
    device = next(network.parameters()).device
    prediction = network(torch.from_numpy(x).to(device))
    chances = torch.log_softmax(prediction.logits.double(), dim=1).cpu().numpy()
    step, duration = (part.double().cpu().numpy() for part in (prediction.step, prediction.duration))
    pitch = np.rint(y[:, PITCH] * N_PITCHES).astype(int)
    rows = np.arange(len(y))
    ranks = (chances > chances[rows, pitch][:, None]).sum(axis=1)
    recent = np.rint(x[:, :, PITCH] * N_PITCHES).astype(int)
    share = (recent == pitch[:, None]).mean(axis=1)
    unigram = counts.unigram[pitch]
    return {
        "notes": float(len(y)),
        "pitch_nll": float(-chances[rows, pitch].sum()),
        "pitch_top1": float((ranks < 1).sum()),
        "pitch_top5": float((ranks < 5).sum()),
        "step_mse": float(((step - y[:, STEP]) ** 2).sum()),
        "duration_mse": float(((duration - y[:, DURATION]) ** 2).sum()),
        "uniform.pitch_nll": len(y) * math.log(N_PITCHES),
        "unigram.pitch_nll": float(-np.log(unigram).sum()),
        "unigram_recent.pitch_nll": float(-np.log(unigram / 2 + share / 2).sum()),
        "mean.step_mse": float(((counts.mean_step - y[:, STEP]) ** 2).sum()),
        "mean.duration_mse": float(((counts.mean_duration - y[:, DURATION]) ** 2).sum()),
    }


def likelihood_report(sums: Sums) -> dict[str, Any]:
    """Means a note: the network's own at the top, counting rules under their names."""
    report: dict[str, Any] = {"notes": int(sums["notes"])}
    for name, value in sums.items():
        *model, measure = name.split(".")
        if measure != "notes":
            row = report.setdefault(model[0], {}) if model else report
            row[measure] = value / sums["notes"]
    return report


def likelihood_table(report: dict[str, Any]) -> str:
    """The report as lines for a terminal."""
    lines = [f"{'':16}{'pitch, nats':>12}{'step, s^2':>12}{'duration, s^2':>15}"]
    for name in (None, "unigram_recent", "unigram", "uniform", "mean"):
        row = report if name is None else report.get(name, {})
        cells = "".join(
            f"{row[key]:>{width}.4f}" if key in row else " " * width
            for key, width in (("pitch_nll", 12), ("step_mse", 12), ("duration_mse", 15))
        )
        lines.append(f"{name or 'this network':16}{cells}".rstrip())
    return "\n".join(lines)
