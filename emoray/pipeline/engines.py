"""Engines: what answers the items of a batch, in Ray Serve or inside the workers of Ray Data.

An engine reaches a worker as a function that builds it there, so models are loaded once a worker and never
pickled. Both engines give the same music; ``serve`` shares one network among all workers and with anybody
else, ``data`` gives each worker its own and needs no service.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ray

from emoray.answer import ReadFaces, answer_items, failed
from emoray.batch.folder import BatchSettings, serve_workers
from emoray.batch.grain import Engine
from emoray.errors import ClusterError, EmorayError
from emoray.items import Item, Result
from emoray.pipeline.client import answer_all
from emoray.pipeline.isolation import isolated, limited
from emoray.pipeline.serve import cpus_needed, delete, deploy, handle_of
from emoray.pipeline.stages import LOADERS, Loaders
from emoray.readers.face import FaceReader
from emoray.web.settings import ServeSettings

log = logging.getLogger(__name__)

SERVE_WORKER_CPUS = 0.1
"""Of a worker that waits for Serve, reads files and writes them."""
CPUS_OF_A_READER = 4
"""Faces are read, and MIDI is written, some ten times as fast as music is composed."""


@dataclass(frozen=True, kw_only=True)
class EnginePlan:
    """An engine before it is started: what its music depends on, what it takes, how to start it."""

    checkpoint: str
    """Fingerprint of the checkpoint."""
    guidance: str
    """Of items that name none."""
    faces: str
    """Which face model answers."""
    workers: int
    worker_cpus: float
    service_cpus: float = 0.0
    """CPUs it takes beside its workers."""
    start: Callable[[str], AbstractContextManager[Callable[[], Engine]]]
    """Runs in the driver, with a name for the batch, and lasts as long as it does; gives what builds the
    engine in a worker."""
    alone: Engine | None = None
    """Answers the items of a worker that died over them, each apart; None where the engine does so itself."""

    def identity(self, settings: BatchSettings) -> dict[str, Any]:
        """What the music depends on beside manifest and root, each with the name that a refusal gives it."""
        return {
            "checkpoint": self.checkpoint,
            "guidance": self.guidance,
            "strength": settings.strength,
            "without seed": settings.without_seed,
            "face backend": self.faces,
            "face policy": settings.policy,
            "face threshold": settings.threshold,
        }

    def check_cluster(self) -> None:
        """Refuse what would wait for CPUs for ever. A batch neither reads nor writes by Ray, so this is all.

        Raises:
            ClusterError: the cluster is too small.
        """
        there = ray.cluster_resources().get("CPU", 0.0)
        need = self.workers * self.worker_cpus + self.service_cpus
        if need > there + 1e-6:
            fits = self.worker_cpus + self.service_cpus <= there
            remedy = (
                f"lower --workers (now {self.workers})"
                if fits
                else "start Ray with more or join a larger one"
            )
            raise ClusterError("cluster", f"has {there:g} CPUs, this batch wants {need:g}; {remedy}")


def plan_engine(settings: BatchSettings, rows: int) -> EnginePlan:
    """The engine that the settings name.

    Args:
        settings: how to answer.
        rows: how many there are to answer.

    Raises:
        CheckpointError, FaceError, WeightsError: the checkpoint or the face model cannot be used.
        ConfigError: a setting of the face reader is refused.
    """
    from emoray.model.checkpoint import load_checkpoint  # with torch, which workers of Serve do without

    checkpoint = load_checkpoint(settings.checkpoint)
    faces = FaceReader(settings.faces, settings.policy, settings.threshold).backend
    settings = replace(settings, faces=faces.partition(":")[0])  # what "auto" means here, on every node
    plan = partial(
        EnginePlan,
        checkpoint=checkpoint.fingerprint,
        guidance=settings.guidance or checkpoint.guidance,
        faces=faces,
    )
    loaders = replace(LOADERS, faces=partial(_load_faces, settings.policy, settings.threshold))
    stages = ServeSettings(
        checkpoint=settings.checkpoint,
        guidance=settings.guidance,
        faces=settings.faces,
        stage_timeout=settings.timeout,
    )
    there = max(1, int(ray.cluster_resources().get("CPU", 1)))
    if settings.engine == "data":
        cpus = settings.worker_cpus or 1.0
        stages = replace(stages, threads=max(1, int(cpus)))
        build = partial(data_engine, stages, loaders)
        within = partial(limited, build, settings.timeout)
        return plan(
            workers=settings.workers or there,
            worker_cpus=cpus,
            start=lambda _: contextlib.nullcontext(within),
            alone=isolated(build, attempts=settings.attempts, seconds=settings.timeout),
        )
    stages = staffed(stages, there, rows)
    workers = settings.workers or serve_workers(stages.composer_replicas, rows)
    window = max(1, (settings.window or stages.in_flight) // workers)
    return plan(
        workers=workers,
        worker_cpus=settings.worker_cpus or SERVE_WORKER_CPUS,
        service_cpus=cpus_needed(stages),
        start=partial(serving, replace(settings, window=window), stages, loaders),
    )


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


def data_engine(stages: ServeSettings, loaders: Loaders) -> Engine:
    """Everything in this worker, loaded once; the reader of pictures when it is needed."""
    composer, guidance = loaders.composer(stages)
    face_reader = functools.cache(loaders.faces)
    answer = partial(
        answer_items,
        read_faces=lambda pictures: face_reader(stages)(pictures) if pictures else [],
        read_seed=loaders.seeds(stages),
        compose=composer.compose,
        guidance=guidance,
    )
    return partial(answer_each, answer=answer)


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


def _load_faces(policy: str, threshold: float, stages: ServeSettings) -> ReadFaces:
    return FaceReader(backend=stages.faces, policy=policy, threshold=threshold).read


def answer_each(
    items: Sequence[Item], answer: Callable[[Sequence[Item]], list[Result]]
) -> list[tuple[Result, int]]:
    """Answer items together; when that breaks, find by halving the item that broke it and fail only that."""
    try:
        return [(result, 1) for result in answer(items)] if items else []
    except Exception as err:
        if len(items) == 1:
            log.exception("unexpected error", extra={"item": items[0].id})
            return [(failed(items[0], unexpected(items[0].id, err)), 1)]
        half = len(items) // 2
        return answer_each(items[:half], answer) + answer_each(items[half:], answer)


def unexpected(item_id: str, err: Exception) -> EmorayError:
    """What a results row says of a bug."""
    what = f"unexpected {type(err).__name__}: {err}".splitlines()[0]
    return EmorayError(item_id, f"{what}; a bug, the log has its traceback")
