"""Training workers: what one worker of Ray Train holds, and how it trains and validates each preset.

A worker keeps every n-th training piece in memory. What it draws depends on (random seed, epoch, rank) alone,
so a run that was killed and resumed ends where an uninterrupted one would have.

* ``BaselineWorker`` holds its notes in one table and cuts windows from it. The learning rate halves when the
  validation loss stalls.
* ``ExpressiveWorker`` draws spans of pieces. The learning rate depends on the epoch and the number of epochs
  planned. All workers bring equally many chunks to each update, or they would wait for each other for ever: a
  batch whose spans are shorter than another worker's is padded with places that weigh nothing.

Letters: **N** notes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray
from torch import nn

from emoray.config import BaselinePreset, ExpressivePreset
from emoray.dataset import corpus
from emoray.dataset.attributes import GROUPS
from emoray.dataset.spans import Spans, beginnings, stacked, training_spans
from emoray.dataset.windows import flatten, window_starts
from emoray.model import expressive_training, training
from emoray.model.baseline import BaselineNetwork
from emoray.model.expressive import ExpressiveNetwork
from emoray.model.expressive_training import ExpressiveOptimizer
from emoray.model.training import Standing
from emoray.notes import Notes
from emoray.pipeline.metrics import record

Batch = TypeVar("Batch")


class WorkerContext(NamedTuple):
    """Rank of a worker, number of workers, and what the random generators start from."""

    rank: int
    world: int
    random_seed: int

    @classmethod
    def here(cls, random_seed: int) -> WorkerContext:
        """The context of the worker that calls this."""
        context = ray.train.get_context()
        return cls(context.get_world_rank(), context.get_world_size(), random_seed)


def pieces_of(
    folder: Path, split: str, context: WorkerContext | None = None, *, least: int = 1, sounding: bool = False
) -> list[Notes]:
    """Pieces of a split of at least so many notes, in the order of the corpus; a worker has every n-th."""
    found = (
        notes for _, notes in corpus.read_pieces(folder, split, sounding=sounding) if len(notes) >= least
    )
    return list(islice(found, context.rank, None, context.world)) if context else list(found)


def recorded(batches: Iterable[Batch], notes: Callable[[Batch], int]) -> Iterator[Batch]:
    """The same batches; the wait for each and the notes to predict in it are recorded."""
    began = time.monotonic()
    for batch in batches:
        record("emoray_train_wait_seconds_total", time.monotonic() - began)
        yield batch
        record("emoray_train_notes_total", notes(batch))
        began = time.monotonic()


def record_epoch(standing: Standing) -> None:
    """The figures of the epoch that has just been done."""
    record("emoray_train_epoch", standing.epoch)
    for split in ("train", "validation"):
        record("emoray_train_loss", standing.history[-1][f"{split}_loss"], split=split)


def over_workers(values: list[float], how: str) -> list[float]:
    """Values reduced over all workers, the same on each: ``sum``, ``min`` or ``max``."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    reduced = torch.tensor(values, dtype=torch.float64, device=ray.train.torch.get_device())
    operation = getattr(torch.distributed.ReduceOp, how.upper())
    torch.distributed.all_reduce(reduced, op=operation)
    return reduced.tolist()


@dataclass(frozen=True)
class _Windows:
    """What a worker cuts windows from."""

    table: NDArray[np.float32]
    """[N, 3] in model units."""
    starts: NDArray[np.int64]


class BaselineWorker:
    """A baseline network, its optimizer, and what this worker trains it on."""

    def __init__(self, preset: BaselinePreset, context: WorkerContext, folder: Path) -> None:
        self.preset, self.context = preset, context
        self.windows = _windows(pieces_of(folder, "train", context), preset.window)
        self.validation = _windows(pieces_of(folder, "validation"), preset.window)
        self.network = BaselineNetwork(preset.hidden)
        self.optimizer: torch.optim.Optimizer = torch.optim.Adam(
            self.network.parameters(), preset.learning_rate
        )
        self.batch = max(1, preset.batch_size // context.world)
        share = min(len(self.windows.starts), preset.epoch_windows // context.world)
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
            random_seed=self.context.random_seed, epoch=standing.epoch, rank=self.context.rank,
        )  # fmt: skip
        batches = training.batches(self.windows.table, starts, self.preset.window, self.batch)
        watched = recorded(batches, lambda batch: len(batch[1]))
        loss = training.train_epoch(model, self.optimizer, watched, self.preset)
        return {
            "train_loss": over_workers([loss], "max")[0],
            "learning_rate": standing.learning_rate,
            "windows": float(self.count * self.context.world),
        }

    def validate(self) -> dict[str, float]:
        """Validation means over evenly spaced windows, each worker doing its share."""
        stride = max(1, -(-len(self.validation.starts) // self.preset.validation_windows))
        share = self.validation.starts[::stride][self.context.rank :: self.context.world]
        batches = training.batches(self.validation.table, share, self.preset.window, 1024)
        sums = training.validation_sums(self.network, batches, self.preset)
        added = over_workers(list(sums.values()), "sum")
        return training.means(dict(zip(sums, added, strict=True)))


def _windows(pieces: list[Notes], window: int) -> _Windows:
    flat, lengths = flatten(pieces)
    return _Windows(flat, window_starts(lengths, window))


PREDICTABLE = 2
"""Notes of a piece with a note to predict."""


class ExpressiveWorker:
    """An expressive network, its optimizer, and what this worker trains it on."""

    def __init__(self, preset: ExpressivePreset, context: WorkerContext, folder: Path) -> None:
        self.context = context
        self.pieces = pieces_of(folder, "train", context, least=PREDICTABLE, sounding=True)
        [notes] = over_workers([sum(len(piece) for piece in self.pieces)], "sum")
        [longest] = over_workers([max(len(piece) for piece in self.pieces)], "max")
        self.preset = expressive_training.fitted(preset, int(notes), int(longest), context.world)
        self.updates = expressive_training.epoch_updates(self.preset, int(longest))
        self.skipped = 0
        """Updates of this epoch that batches of short spans did without: the learning rate counts them."""
        held_out = pieces_of(folder, "validation", least=PREDICTABLE, sounding=True)
        self.validation = beginnings(held_out, preset)[context.rank :: context.world]
        self.network = ExpressiveNetwork(preset)
        self.optimizer = ExpressiveOptimizer(self.network, self.preset)

    def train(self, model: nn.Module, standing: Standing) -> dict[str, float]:
        """One epoch of updates; its figures."""
        key = (self.context.random_seed, standing.epoch, self.context.rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))
        planned, self.skipped = standing.planned or self.preset.epochs, 0

        def rate(update: int) -> float:
            done = standing.epoch * self.updates + self.skipped + update
            return expressive_training.learning_rate(done, planned * self.updates, self.preset)

        batches = recorded(self._batches(key), lambda spans: int(spans.mask.sum()))
        means = expressive_training.train_epoch(
            model, self.network, self.optimizer, batches, self.preset, rate
        )
        loss = sum(means[part] for part in expressive_training.PARTS)
        return {
            "train_loss": over_workers([loss], "sum")[0] / self.context.world,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "planned_epochs": planned,
        }

    def validate(self) -> dict[str, float]:
        """Validation means over beginnings of pieces, without and with a condition; workers share them."""
        uncond, cond = self._validated(conditional=False), self._validated(conditional=True)
        metrics = {f"validation_{part}_nats": uncond[part] for part in expressive_training.PARTS}
        return metrics | {
            "validation_loss": sum(uncond.values()),
            "validation_conditional_loss": sum(cond.values()),
        }

    def _validated(self, *, conditional: bool) -> dict[str, float]:
        groups, size = np.full(len(GROUPS), conditional), self._size
        rows = (self.validation[first : first + size] for first in range(0, len(self.validation), size))
        batches = (stacked(some, self.preset, [groups] * len(some)) for some in rows)
        sums = expressive_training.validation_sums(self.network, batches, self.preset)
        added = dict(zip(sums, over_workers(list(sums.values()), "sum"), strict=True))
        return {part: added[part] / added["notes"] for part in expressive_training.PARTS}

    def _batches(self, key: tuple[int, ...]) -> Iterator[Spans]:
        """This worker's spans of an epoch, each batch as long as the other workers'."""
        count = self.preset.epoch_spans // self.context.world
        most = self.updates // (count // self._size)
        for spans in training_spans(self.pieces, self.preset, count, self._size, key):
            [places] = over_workers([spans.mask.shape[1]], "max")
            yield spans.padded(int(places))
            self.skipped += most - int(places) // self.preset.chunk

    @property
    def _size(self) -> int:
        """Spans of one batch on this worker."""
        return self.preset.batch_size // self.context.world
