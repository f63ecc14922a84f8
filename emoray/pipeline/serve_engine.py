"""The engine that asks an application of Ray Serve: one for a batch, with a network that its workers share.

Conventions
-----------
The driver deploys the application and deletes it; a worker calls it and composes nothing.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from emoray.batch.folder import BatchSettings
from emoray.batch.shard import Engine
from emoray.pipeline.client import answer_all
from emoray.pipeline.data_engine import data_engine
from emoray.pipeline.isolation import isolated
from emoray.pipeline.serve import delete, deploy, handle_of
from emoray.pipeline.stages import Loaders
from emoray.web.settings import ServeSettings

WORKER_CPUS = 0.1
"""Of a worker, which waits for Serve, reads files and writes them."""
CPUS_OF_A_READER = 4
"""Faces are read, and MIDI is written, some ten times as fast as music is composed."""


def staffed(stages: ServeSettings, cpus: int, rows: int) -> ServeSettings:
    """The stages with as many replicas as keep the CPUs busy: a composer is one thread.

    >>> staffed(ServeSettings(), 8, 2000).composer_replicas, staffed(ServeSettings(), 8, 40).composer_replicas
    (8, 2)
    """
    composers = min(cpus, max(1, math.ceil(2 * rows / stages.max_batch_size)))
    others = math.ceil(composers / CPUS_OF_A_READER)
    return replace(
        stages,
        composer_replicas=composers,
        seed_replicas=composers,  # pYIN takes as long as composing
        face_replicas=others,
        answer_replicas=others,
    )


@contextlib.contextmanager
def serving(
    settings: BatchSettings, stages: ServeSettings, loaders: Loaders, name: str
) -> Iterator[Callable[[], Engine]]:
    """An application of this batch alone; what a killed drive left of it is replaced."""
    stages = replace(stages, app=f"emoray-batch-{name}")
    deploy(stages, loaders=loaders)
    build = partial(data_engine, stages, loaders)
    alone = isolated(build, attempts=settings.attempts, seconds=settings.timeout)
    try:
        yield partial(serve_engine, stages.app, settings, alone)
    finally:
        delete(stages.app)


def serve_engine(app: str, settings: BatchSettings, alone: Engine | None = None) -> Engine:
    """Calls to an application that is deployed; ``window`` is this worker's share."""
    assert settings.window is not None
    return partial(
        answer_all,
        handle_of(app),
        window=settings.window,
        timeout_s=settings.timeout,
        attempts=settings.attempts,
        jitter=random.Random(),
        alone=alone,
    )
