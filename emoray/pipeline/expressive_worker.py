"""Expressive worker: the expressive preset's part of the training loop, on one worker.

Each worker keeps every n-th training piece and draws spans from it. What it draws, and what dropout drops,
depends on (random seed, epoch, rank) alone, and so does the learning rate on the epoch and the number of
epochs planned: a run that was killed and resumed ends where an uninterrupted one would have.

Workers bring equally many chunks to each update, or they would wait for each other for ever: a batch whose
spans are all shorter than another worker's is padded with places that weigh nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from emoray.config import ExpressivePreset
from emoray.dataset.attributes import GROUPS
from emoray.dataset.spans import Spans, beginnings, stacked, training_spans
from emoray.model import expressive_training as training
from emoray.model.expressive import ExpressiveNetwork
from emoray.model.optimizer import ExpressiveOptimizer
from emoray.model.training import Standing
from emoray.pipeline.workers import Place, over_workers, pieces_of, recorded

PREDICTABLE = 2
"""Notes of a piece with a note to predict."""


class ExpressiveWorker:
    """An expressive network, its optimizer, and what this worker trains it on."""

    def __init__(self, preset: ExpressivePreset, place: Place, folder: Path) -> None:
        self.place = place
        self.pieces = pieces_of(folder, "train", place, least=PREDICTABLE, sounding=True)
        [notes] = over_workers([sum(len(piece) for piece in self.pieces)], "sum")
        [longest] = over_workers([max(len(piece) for piece in self.pieces)], "max")
        self.preset = training.fitted(preset, int(notes), int(longest), place.world)
        self.updates = training.epoch_updates(self.preset, int(longest))
        self.skipped = 0
        """Updates of this epoch that batches of short spans did without: the learning rate counts them."""
        held_out = pieces_of(folder, "validation", least=PREDICTABLE, sounding=True)
        self.validation = beginnings(held_out, preset)[place.rank :: place.world]
        self.network = ExpressiveNetwork(preset)
        self.optimizer = ExpressiveOptimizer(self.network, self.preset)

    def train(self, model: nn.Module, standing: Standing) -> dict[str, float]:
        """One epoch of updates; its figures."""
        key = (self.place.random_seed, standing.epoch, self.place.rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))
        planned, self.skipped = standing.planned or self.preset.epochs, 0

        def rate(update: int) -> float:
            done = standing.epoch * self.updates + self.skipped + update
            return training.learning_rate(done, planned * self.updates, self.preset)

        batches = recorded(self._batches(key), lambda spans: int(spans.known.sum()))
        means = training.train_epoch(model, self.network, self.optimizer, batches, self.preset, rate)
        loss = sum(means[part] for part in training.PARTS)
        return {
            "train_loss": over_workers([loss], "sum")[0] / self.place.world,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "planned_epochs": planned,
        }

    def validate(self) -> dict[str, float]:
        """Validation means over beginnings of pieces, each worker doing its share; told nothing and all."""
        uncond, told = self._validated(told=False), self._validated(told=True)
        metrics = {f"validation_{part}_nats": uncond[part] for part in training.PARTS}
        return metrics | {
            "validation_loss": sum(uncond.values()),
            "validation_told_loss": sum(told.values()),
        }

    def _validated(self, *, told: bool) -> dict[str, float]:
        groups, size = np.full(len(GROUPS), told), self._size
        rows = (self.validation[first : first + size] for first in range(0, len(self.validation), size))
        batches = (stacked(some, self.preset, [groups] * len(some)) for some in rows)
        sums = training.validation_sums(self.network, batches, self.preset)
        added = dict(zip(sums, over_workers(list(sums.values()), "sum"), strict=True))
        return {part: added[part] / added["notes"] for part in training.PARTS}

    def _batches(self, key: tuple[int, ...]) -> Iterator[Spans]:
        """This worker's spans of an epoch, each batch as long as the other workers'."""
        count = self.preset.epoch_spans // self.place.world
        most = self.updates // (count // self._size)
        for spans in training_spans(self.pieces, self.preset, count, self._size, key):
            [places] = over_workers([spans.known.shape[1]], "max")
            yield spans.padded(int(places))
            self.skipped += most - int(places) // self.preset.chunk

    @property
    def _size(self) -> int:
        """Spans of one batch on this worker."""
        return self.preset.batch_size // self.place.world
