"""Workers: what every training worker needs, whatever it trains: its place, its pieces, sums over all."""

from __future__ import annotations

from typing import Any, NamedTuple

import ray.train
import ray.train.torch
import torch

from emoray.dataset import corpus
from emoray.notes import Notes


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


def over_workers(values: list[float], how: str) -> list[float]:
    """Values reduced over all workers, the same on each: ``sum``, ``min`` or ``max``."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    reduced = torch.tensor(values, dtype=torch.float64, device=ray.train.torch.get_device())
    operation = getattr(torch.distributed.ReduceOp, how.upper())
    torch.distributed.all_reduce(reduced, op=operation)
    return reduced.tolist()
