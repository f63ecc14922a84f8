"""Workers: what every training worker needs, whatever it trains: place, pieces, figures, sums over all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import ray.train
import ray.train.torch
import torch

from emoray.dataset import corpus
from emoray.model.training import Standing
from emoray.notes import Notes
from emoray.pipeline.metrics import record

Batch = TypeVar("Batch")


class Place(NamedTuple):
    """Which worker of how many, and what its random generators start from."""

    rank: int
    world: int
    random_seed: int

    @classmethod
    def here(cls, random_seed: int) -> Place:
        """The place of the worker that asks."""
        context = ray.train.get_context()
        return cls(context.get_world_rank(), context.get_world_size(), random_seed)


def pieces_of(split: str, *, sounding: bool = False) -> list[Notes]:
    """Pieces that Ray Train gave to this worker; sorted by path, because blocks arrive in any order."""
    pieces: list[tuple[str, Any]] = []
    for table in ray.train.get_dataset_shard(split).iter_batches(batch_size=None, batch_format="pyarrow"):
        found = corpus.pieces_of(table, split, sounding=sounding)
        pieces += [(record["path"], notes) for record, notes in found]
    pieces.sort(key=lambda piece: piece[0])
    return [notes for _, notes in pieces]


def recorded(batches: Iterable[Batch], notes: Callable[[Batch], int]) -> Iterator[Batch]:
    """The same batches; the wait for each and the notes to predict in it are recorded."""
    asked = time.monotonic()
    for batch in batches:
        record("emoray_train_wait_seconds_total", time.monotonic() - asked)
        yield batch
        record("emoray_train_notes_total", notes(batch))
        asked = time.monotonic()


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
