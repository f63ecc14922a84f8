"""Failures: the one model of what can go wrong with a request, for both engines of a batch.

===================================  ======================================================================
what happens                         what becomes of the request
===================================  ======================================================================
its own error (``EmorayError``)      a failed result that says so; never retried, harms no neighbour
a bug (any other exception)          found by calling each alone; a failed result, its traceback is logged
a transient error of the cluster     the call is made again a bounded number of times, then a failed result
it kills or hangs its process        narrowed down to its row: it goes on in a process of its own, with a
                                     limit to its time, a bounded number of times, then a failed result
===================================  ======================================================================

Importing Serve takes longer than importing all of emoray, and workers that do without it ask here too. So
Serve's errors count where it has been imported: nobody else can have caught one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import ray
from ray import exceptions as core
from ray.exceptions import GetTimeoutError

from emoray.batch.shard import Engine
from emoray.errors import ClusterError, EmorayError
from emoray.generation import failed
from emoray.pipeline.metrics import record
from emoray.request import GenerationRequest, Result

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


log = logging.getLogger(__name__)

Asked = TypeVar("Asked")
Given = TypeVar("Given")

Build = Callable[[], Engine]

STARTS = 3
"""Of a process before it is given up: the first may have gone to a node that was lost."""


def limited(build: Build, seconds: float) -> Engine:
    """The engine of ``build``, in a process that ends when items take longer than ``seconds`` each.

    They are answered together, so the limit is that of them all.
    """
    return partial(_answer_limited, engine=build(), seconds=seconds)


def isolated(build: Build, *, attempts: int, seconds: float) -> Engine:
    """An engine that answers item after item in another process, by the engine of ``build``.

    Args:
        build: runs in that process.
        attempts: how many processes an item may end.
        seconds: after which it is given up.
    """
    return partial(_answer_isolated, build=build, attempts=attempts, seconds=seconds)


@contextlib.contextmanager
def watchdog(seconds: float) -> Iterator[None]:
    """End this process if the body takes longer; its log gets the stack.

    A library that does not return to the interpreter cannot prevent it.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _answer_limited(
    items: Sequence[GenerationRequest], engine: Engine, seconds: float
) -> list[tuple[Result, int]]:
    with watchdog(seconds * max(1, len(items))):
        return engine(items)


def _answer_isolated(
    items: Sequence[GenerationRequest], build: Build, attempts: int, seconds: float
) -> list[tuple[Result, int]]:
    cell = _Cell(build)
    try:
        return [_answer_bounded(item, cell, attempts, seconds) for item in items]
    finally:
        cell.end()


class _Cell:
    """The other process; there is one once it is needed, and a new one when it has died."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._actor: Any = None

    def answer(self, item: GenerationRequest, seconds: float) -> Result:
        """The result of an item.

        Raises:
            ClusterError: no process can be started.
            GetTimeoutError: it takes longer.
            RayActorError: it has ended its process.
        """
        if self._actor is None:
            self._actor = _started(self._build)
        try:
            return ray.get(self._actor.answer.remote(item), timeout=seconds)
        except Exception:
            self.end()
            raise

    def end(self) -> None:
        """End the process, whatever it is at."""
        if self._actor is not None:
            ray.kill(self._actor)
        self._actor = None


class _Answerer:
    def __init__(self, build: Build) -> None:
        self._engine = build()

    def ready(self) -> None:
        """Return once the engine is there."""

    def answer(self, item: GenerationRequest) -> Result:
        [(result, _)] = self._engine([item])
        return result


def _started(build: Build) -> Any:
    start = ray.remote(_Answerer).options(num_cpus=0).remote  # who waits for it needs no CPU meanwhile
    for _ in range(STARTS):
        actor = start(build)
        try:
            ray.get(actor.ready.remote())
            return actor
        except ray.exceptions.RayActorError as err:
            died = err
            log.warning("a process for one item alone died as it was started")
    reason = f"no process can be started for one item alone ({str(died).splitlines()[0]})"
    raise ClusterError("cluster", f"{reason}; give workers more memory") from died


def _answer_bounded(
    item: GenerationRequest, cell: _Cell, attempts: int, seconds: float
) -> tuple[Result, int]:
    for attempt in range(1, attempts + 1):
        try:
            return cell.answer(item, seconds), attempt
        except GetTimeoutError:
            reason = f"takes longer than {seconds:g} s, even alone; take it out or make its files shorter"
            return failed(item, ClusterError(item.id, reason)), attempt
        except Exception as err:
            if not is_transient(err):
                raise
            kind = type(err).__name__
            record("emoray_batch_retries_total", reason=kind)
            log.warning("attempt %d, alone, failed: %s", attempt, kind, extra={"request": item.id})
    times = "once" if attempts == 1 else f"{attempts} times"
    reason = f"ended its process {times}, even alone (out of memory, or a crash); take it out or give it more"
    return failed(item, ClusterError(item.id, reason)), attempts


def together_or_alone(
    work: Callable[[Sequence[Asked]], list[Given]], asked: Sequence[Asked]
) -> list[Given | Exception]:
    """``work`` done on all at once; if that fails, on each alone, with the exception of those that fail."""

    def alone(one: Asked) -> Given | Exception:
        try:
            return work([one])[0]
        except EmorayError as err:
            return err
        except Exception as err:
            log.exception("failed alone as well")  # its traceback would not survive the way to the caller
            return err

    if len(asked) > 1:
        try:
            return [*work(asked)]
        except Exception as err:  # noqa: BLE001 whatever it is comes up again below, where its cause is alone
            log.warning("a batch of %d failed (%s); trying each alone", len(asked), type(err).__name__)
    return [alone(one) for one in asked]
