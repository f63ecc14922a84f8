"""Engines: the two ways to answer the requests of a batch, planned before anything starts.

Engine ``serve`` shares one network among all workers and with other clients; engine ``data`` loads everything
in each worker and needs no service. Both give the same music. An engine reaches a worker as a function that
builds it there: models are loaded once a worker and never pickled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ray

from emoray.batch.folder import BatchSettings, serve_workers
from emoray.batch.shard import Engine
from emoray.errors import ClusterError
from emoray.pipeline.failures import isolated, watched
from emoray.pipeline.worker import LOADERS, data_engine, load_faces
from emoray.readers.face import FaceReader
from emoray.web.settings import ServeSettings


@dataclass(frozen=True, kw_only=True)
class EnginePlan:
    """An engine before it is started: what its music depends on, what it takes, how to start it."""

    checkpoint: str
    """Fingerprint of the checkpoint."""
    guidance: str
    """The mode of requests that name none."""
    faces: str
    """The face model that reads the pictures."""
    workers: int
    worker_cpus: float
    service_cpus: float = 0.0
    """CPUs it takes beside its workers."""
    start: Callable[[str], AbstractContextManager[Callable[[], Engine]]]
    """Runs in the driver, with a name for the batch, and lasts as long as it does; gives what builds the
    engine in a worker."""
    alone: Engine | None = None
    """Answers the requests of a worker that died, each in a process of its own; None where the engine does so
    itself."""

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
    from emoray.model.checkpoint import load_checkpoint  # with torch, which a plan of one's own does without

    checkpoint = load_checkpoint(settings.checkpoint)
    faces = FaceReader(settings.faces, settings.policy, settings.threshold).backend
    settings = replace(settings, faces=faces.partition(":")[0])  # what "auto" means here, on every node
    plan = partial(
        EnginePlan,
        checkpoint=checkpoint.fingerprint,
        guidance=settings.guidance or checkpoint.guidance,
        faces=faces,
    )
    loaders = replace(
        LOADERS, faces=partial(load_faces, policy=settings.policy, threshold=settings.threshold)
    )
    serve_settings = ServeSettings(
        checkpoint=settings.checkpoint,
        guidance=settings.guidance,
        faces=settings.faces,
        stage_timeout=settings.timeout,
    )
    there = max(1, int(ray.cluster_resources().get("CPU", 1)))
    if settings.engine == "data":
        cpus = settings.worker_cpus or 1.0
        serve_settings = replace(serve_settings, threads=max(1, int(cpus)))
        build = partial(data_engine, serve_settings, loaders)
        within = partial(watched, build, settings.timeout)
        return plan(
            workers=settings.workers or there,
            worker_cpus=cpus,
            start=lambda _: contextlib.nullcontext(within),
            alone=isolated(build, attempts=settings.attempts, seconds=settings.timeout),
        )
    from emoray.pipeline.serve_deployment import cpus_needed  # Serve, which the other engine does without
    from emoray.pipeline.serve_engine import WORKER_CPUS, serving, staffed

    serve_settings = staffed(serve_settings, there, rows)
    workers = settings.workers or serve_workers(serve_settings.composer_replicas, rows)
    window = max(1, (settings.window or serve_settings.in_flight) // workers)
    return plan(
        workers=workers,
        worker_cpus=settings.worker_cpus or WORKER_CPUS,
        service_cpus=cpus_needed(serve_settings),
        start=partial(serving, replace(settings, window=window), serve_settings, loaders),
    )
