"""Worker: what a worker of Ray Data loads and runs; replicas of Serve load by the same functions.

Conventions
-----------
A loader builds a reader or the composer in the process that will use it; nothing loads at import. A worker
imports this module, and not Serve, whose import takes longer than that of all of emoray.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from emoray.batch.ledger import StoredRow
from emoray.batch.shard import Engine, Work, process_shards
from emoray.config import Limits
from emoray.emotion import Evidence
from emoray.generation import ReadFaces, ReadSeed, generate_results
from emoray.notes import Notes
from emoray.pipeline.failures import errors_apart, failed_result, step_done
from emoray.pipeline.metrics import record
from emoray.request import File, GenerationRequest, Prompt, Result
from emoray.web.settings import ServeSettings

if TYPE_CHECKING:
    from emoray.compose.decoding import PromptDecoder


@dataclass(frozen=True)
class Loaders:
    """What reads pictures, what reads seeds and what composes, each built where it is used."""

    faces: Callable[[ServeSettings], ReadFaces]
    seeds: Callable[[ServeSettings], ReadSeed]
    composer: Callable[[ServeSettings], tuple[PromptDecoder, str]]
    """What composes, and the guidance mode of requests that name none."""


def load_faces(settings: ServeSettings, **options: Any) -> ReadFaces:
    """The face reader; ``options`` are those that Serve has no settings for."""
    from emoray.readers.face import FaceReader

    return FaceReader(backend=settings.faces, **options).read


def load_seeds(settings: ServeSettings) -> ReadSeed:
    """The reader of MIDI and recordings, with durations as the checkpoint's network was trained on."""
    from emoray.model.preset import reads_sounding
    from emoray.readers.seed import read_seed

    limits, sounding = Limits(), reads_sounding(settings.checkpoint)
    return lambda file: read_seed(file.content, subject=file.name, limits=limits, sounding=sounding)


def load_composer(settings: ServeSettings) -> tuple[PromptDecoder, str]:
    """The network of the checkpoint, ready to compose."""
    import torch

    from emoray.compose.decoding import BatchDecoder
    from emoray.model.checkpoint import load_checkpoint

    torch.set_num_threads(settings.threads)
    checkpoint = load_checkpoint(settings.checkpoint)
    return BatchDecoder(checkpoint), settings.guidance or checkpoint.guidance


LOADERS = Loaders(load_faces, load_seeds, load_composer)


def data_engine(settings: ServeSettings, loaders: Loaders) -> Engine:
    """Everything in this process, loaded once; the reader of pictures when the first picture comes."""
    from emoray.pipeline.continuous_batching import ContinuousBatcher

    decoder, guidance = loaders.composer(settings)
    batcher = ContinuousBatcher(decoder, rows=settings.max_batch_size, gather=0.0, on_step=step_done)
    face_reader = functools.cache(loaders.faces)
    seed_reader = loaders.seeds(settings)

    def read_faces(pictures: Sequence[bytes]) -> list[Evidence]:
        evidence = face_reader(settings)(pictures) if pictures else []
        step_done()
        return evidence

    def read_seed(seed: File) -> Notes:
        notes = seed_reader(seed)
        step_done()
        return notes

    def compose(prompts: Sequence[Prompt]) -> list[Notes]:
        for prompt in prompts:
            decoder.check(prompt)  # before any is composed
        return [future.result() for future in batcher.ask_all(prompts)]

    generate = partial(
        generate_results, read_faces=read_faces, read_seed=read_seed, compose=compose, guidance=guidance
    )
    return partial(answer_each, generate=generate)


def answer_each(
    requests: Sequence[GenerationRequest], generate: Callable[[Sequence[GenerationRequest]], list[Result]]
) -> list[tuple[Result, int]]:
    """The result of each request, and 1 attempt; a bug fails the request that brings it out alone."""
    outcomes = errors_apart(generate, requests)
    return [
        (failed_result(request, outcome) if isinstance(outcome, Exception) else outcome, 1)
        for request, outcome in zip(requests, outcomes, strict=True)
    ]


def process_shards_recorded(
    shards: pa.Table, work: Work, build: Callable[[], Engine], alone: Engine | None
) -> pa.Table:
    """``process_shards`` with its figures: runs in a worker."""
    done = process_shards(shards, work, build, alone, on_commit=record_rows)
    for problem in done["problem"].to_pylist():
        record("emoray_batch_shards_total", outcome="committed" if problem is None else "refused")
    return done


def record_rows(rows: Sequence[StoredRow]) -> None:
    """Record the figures of rows that were answered and committed."""
    for row in rows:
        record("emoray_batch_rows_total", status=row["status"])
        record("emoray_batch_row_seconds", row["milliseconds"] / 1000)
