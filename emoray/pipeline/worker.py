"""Worker: what a worker of Ray Data loads and runs; replicas of Serve load by the same functions.

Conventions
-----------
A loader builds a reader or the composer in the process that will use it; nothing loads at import. A worker
imports this module, and not Serve, whose import takes longer than that of all of emoray.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from emoray.batch.ledger import StoredRow
from emoray.batch.shard import Engine, Work, process_shards
from emoray.config import Limits
from emoray.generation import ReadFaces, ReadSeed, broken, generate_results
from emoray.pipeline.metrics import record
from emoray.request import GenerationRequest, Result
from emoray.web.settings import ServeSettings

if TYPE_CHECKING:
    from emoray.compose.decoding import PromptDecoder


@dataclass(frozen=True)
class Loaders:
    """What each stage builds in its replica."""

    faces: Callable[[ServeSettings], ReadFaces]
    seeds: Callable[[ServeSettings], ReadSeed]
    composer: Callable[[ServeSettings], tuple[PromptDecoder, str]]
    """What composes, and the guidance mode for items that name none."""


def load_faces(settings: ServeSettings, **options: Any) -> ReadFaces:
    """The face reader; its own ``options`` are what a service has no settings for."""
    from emoray.readers.face import FaceReader

    return FaceReader(backend=settings.faces, **options).read


def load_seeds(settings: ServeSettings) -> ReadSeed:
    """The reader of MIDI and recordings, which hears durations as the checkpoint's network does."""
    from emoray.model.preset import sounds
    from emoray.readers.seed import read_seed

    limits, sounding = Limits(), sounds(settings.checkpoint)
    return lambda file: read_seed(file.content, subject=file.name, limits=limits, sounding=sounding)


def load_composer(settings: ServeSettings) -> tuple[PromptDecoder, str]:
    """The network with its checkpoint."""
    import torch

    from emoray.compose.decoding import BatchDecoder
    from emoray.model.checkpoint import load_checkpoint

    torch.set_num_threads(settings.threads)
    checkpoint = load_checkpoint(settings.checkpoint)
    return BatchDecoder(checkpoint), settings.guidance or checkpoint.guidance


LOADERS = Loaders(load_faces, load_seeds, load_composer)


def process_shards_recorded(
    shards: pa.Table, work: Work, build: Callable[[], Engine], alone: Engine | None
) -> pa.Table:
    """``process_shards``: runs in a worker."""
    done = process_shards(shards, work, build, alone, on_commit=record_rows)
    for problem in done["problem"].to_pylist():
        record("emoray_batch_shards_total", outcome="committed" if problem is None else "refused")
    return done


def record_rows(rows: Sequence[StoredRow]) -> None:
    """The figures of rows that were answered and committed."""
    for row in rows:
        record("emoray_batch_rows_total", status=row["status"])
        record("emoray_batch_row_seconds", row["milliseconds"] / 1000)


log = logging.getLogger(__name__)


def data_engine(stages: ServeSettings, loaders: Loaders) -> Engine:
    """Everything in this worker, loaded once; the reader of pictures when it is needed."""
    composer, guidance = loaders.composer(stages)
    face_reader = functools.cache(loaders.faces)
    answer = partial(
        generate_results,
        read_faces=lambda pictures: face_reader(stages)(pictures) if pictures else [],
        read_seed=loaders.seeds(stages),
        compose=composer.compose,
        guidance=guidance,
    )
    return partial(answer_each, answer=answer)


def answer_each(
    items: Sequence[GenerationRequest], answer: Callable[[Sequence[GenerationRequest]], list[Result]]
) -> list[tuple[Result, int]]:
    """Answer items together; when that breaks, find by halving the item that broke it and fail only that."""
    try:
        return [(result, 1) for result in answer(items)] if items else []
    except Exception as err:
        if len(items) == 1:
            log.exception("unexpected error", extra={"request": items[0].id})
            return [(broken(items[0].id, f"{type(err).__name__}: {err}".splitlines()[0]), 1)]
        half = len(items) // 2
        return answer_each(items[:half], answer) + answer_each(items[half:], answer)
