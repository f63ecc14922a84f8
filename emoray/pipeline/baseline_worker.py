"""Seed worker: the baseline preset's part of the training loop, on one worker.

Each worker holds its share of the training notes in one table and cuts windows from it as it goes, in an
order that depends on (random seed, epoch, rank) alone. The learning rate halves when validation stalls.

Letters: **N** notes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from emoray.config import BaselinePreset
from emoray.dataset.windows import flatten, window_starts
from emoray.model import training
from emoray.model.baseline import BaselineNetwork
from emoray.model.training import Standing
from emoray.notes import Notes
from emoray.pipeline.workers import Place, over_workers, pieces_of, recorded


@dataclass(frozen=True)
class _Windows:
    """What a worker cuts windows from."""

    table: NDArray[np.float32]
    """[N, 3] in model units."""
    starts: NDArray[np.int64]


class BaselineWorker:
    """A baseline network, its optimizer, and what this worker trains it on."""

    def __init__(self, preset: BaselinePreset, place: Place, folder: Path) -> None:
        self.preset, self.place = preset, place
        self.windows = _windows(pieces_of(folder, "train", place), preset.window)
        self.validation = _windows(pieces_of(folder, "validation"), preset.window)
        self.network = BaselineNetwork(preset.hidden)
        self.optimizer: torch.optim.Optimizer = torch.optim.Adam(
            self.network.parameters(), preset.learning_rate
        )
        self.batch = max(1, preset.batch_size // place.world)
        share = min(len(self.windows.starts), preset.epoch_windows // place.world)
        count = int(over_workers([share], "min")[0])
        assert count >= self.batch, (
            f"a worker's share has {count} windows, fewer than a batch of {self.batch}"
        )
        self.count = count // self.batch * self.batch

    def train(self, model: nn.Module, standing: Standing) -> dict[str, float]:
        """One epoch of updates; its figures."""
        for group in self.optimizer.param_groups:
            group["lr"] = standing.learning_rate
        starts = training.epoch_starts(
            self.windows.starts, self.count,
            random_seed=self.place.random_seed, epoch=standing.epoch, rank=self.place.rank,
        )  # fmt: skip
        batches = training.batches(self.windows.table, starts, self.preset.window, self.batch)
        watched = recorded(batches, lambda batch: len(batch[1]))
        loss = training.train_epoch(model, self.optimizer, watched, self.preset)
        return {
            "train_loss": over_workers([loss], "max")[0],
            "learning_rate": standing.learning_rate,
            "windows": float(self.count * self.place.world),
        }

    def validate(self) -> dict[str, float]:
        """Validation means over evenly spaced windows, each worker doing its share."""
        stride = max(1, -(-len(self.validation.starts) // self.preset.validation_windows))
        share = self.validation.starts[::stride][self.place.rank :: self.place.world]
        batches = training.batches(self.validation.table, share, self.preset.window, 1024)
        sums = training.validation_sums(self.network, batches, self.preset)
        added = over_workers(list(sums.values()), "sum")
        return training.means(dict(zip(sums, added, strict=True)))


def _windows(pieces: list[Notes], window: int) -> _Windows:
    flat, lengths = flatten(pieces)
    return _Windows(flat, window_starts(lengths, window))
