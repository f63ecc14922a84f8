"""Passing: errors of the cluster and not of an item, so that the same call may succeed a moment later.

Conventions
-----------
Importing Serve takes longer than importing all of emoray, and workers that do without it ask here too. So
its errors count where it has been imported: nobody else can have caught one.
"""

from __future__ import annotations

import sys

from ray import exceptions as core

CLUSTER_ERRORS = (
    TimeoutError,
    core.RayActorError,  # ActorDiedError and ActorUnavailableError
    core.WorkerCrashedError,
    core.NodeDiedError,
    core.ObjectLostError,
    core.OutOfMemoryError,
    core.TaskCancelledError,
)


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a moment later; looks into errors that came through a replica."""
    return is_any(error, transient_errors())


def transient_errors() -> tuple[type[BaseException], ...]:
    """The errors that pass."""
    return CLUSTER_ERRORS + busy()


def busy() -> tuple[type[BaseException], ...]:
    """Those of Serve, which no item brings about."""
    serving = sys.modules.get("ray.serve.exceptions")
    return () if serving is None else (serving.BackPressureError, serving.ReplicaUnavailableError)


def is_any(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    """Whether it is of one of these kinds, or was caused by one."""
    cause = getattr(error, "cause", None)  # a RayTaskError keeps what the replica raised
    return isinstance(error, kinds) or (isinstance(cause, BaseException) and is_any(cause, kinds))
