"""Workers: what every training worker needs, whatever it trains: place, pieces, figures, sums over all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

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


def pieces_of(
    folder: Path, split: str, place: Place | None = None, *, least: int = 1, sounding: bool = False
) -> list[Notes]:
    """Pieces of a split of at least so many notes, in the order of the corpus; a place has every n-th."""
    found = (
        notes for _, notes in corpus.read_pieces(folder, split, sounding=sounding) if len(notes) >= least
    )
    return list(islice(found, place.rank, None, place.world)) if place else list(found)


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
