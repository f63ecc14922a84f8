"""The engine inside a worker of Ray Data, or inside the process of one item that goes alone.

Conventions
-----------
A worker imports this and what it composes with, and not Serve.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from functools import partial

from emoray.batch.shard import Engine
from emoray.generation import broken, generate_results
from emoray.pipeline.stages import Loaders
from emoray.request import GenerationRequest, Result
from emoray.web.settings import ServeSettings

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
            log.exception("unexpected error", extra={"item": items[0].id})
            return [(broken(items[0], f"{type(err).__name__}: {err}".splitlines()[0]), 1)]
        half = len(items) // 2
        return answer_each(items[:half], answer) + answer_each(items[half:], answer)
