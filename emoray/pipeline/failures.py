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
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import ray
from ray import exceptions as core
from ray.exceptions import GetTimeoutError

from emoray.batch.shard import Engine
from emoray.errors import ClusterError, EmorayError
from emoray.generation import broken, failed
from emoray.pipeline.metrics import record
from emoray.pipeline.resources import report_waits
from emoray.request import GenerationRequest, Result

log = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")
BuildEngine = Callable[[], Engine]

PROCESS_STARTS = 3
"""Starts of the process of one request before it is given up: the first may have gone to a lost node."""
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
    return _is_any(error, transient_errors())


def is_overload(error: BaseException) -> bool:
    """Whether Serve was too busy or restarting, which no request brings about."""
    return _is_any(error, _overload_errors())


def transient_errors() -> tuple[type[BaseException], ...]:
    """The errors of the cluster, not of a request, after which a call is made again."""
    return CLUSTER_ERRORS + _overload_errors()


def _overload_errors() -> tuple[type[BaseException], ...]:
    serve_errors = sys.modules.get("ray.serve.exceptions")
    return (
        () if serve_errors is None else (serve_errors.BackPressureError, serve_errors.ReplicaUnavailableError)
    )


def _is_any(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    cause = getattr(error, "cause", None)  # a RayTaskError keeps what the replica raised
    return isinstance(error, kinds) or (isinstance(cause, BaseException) and _is_any(cause, kinds))


def error_name(error: BaseException) -> str:
    """The type of an error, or of the one that a replica raised."""
    return type(getattr(error, "cause", None) or error).__name__


def errors_apart(work: Callable[[Sequence[In]], list[Out]], inputs: Sequence[In]) -> list[Out | Exception]:
    """``work`` on all inputs; if it fails, on halves of them, until each input that breaks it stands alone.

    Returns:
        [n] what ``work`` gives for each input, or the exception that the input raises alone.
    """
    if not inputs:
        return []
    try:
        return [*work(inputs)]
    except Exception as err:
        if len(inputs) > 1:
            log.warning("a batch of %d failed (%s); trying it in halves", len(inputs), type(err).__name__)
            half = len(inputs) // 2
            return errors_apart(work, inputs[:half]) + errors_apart(work, inputs[half:])
        if not isinstance(err, EmorayError):
            named = {"request": inputs[0].id} if isinstance(inputs[0], GenerationRequest) else {}
            log.exception("unexpected error", extra=named)  # its traceback would not survive a replica
        return [err]


def failed_result(request: GenerationRequest, error: Exception) -> Result:
    """The failed result of a request that raised an error: its own, or a bug."""
    if isinstance(error, EmorayError):
        return failed(request, error)
    cause = getattr(error, "cause", None) or error
    return broken(request.id, f"{error_name(error)}: {cause}".splitlines()[0])


def retried(
    request: GenerationRequest,
    call: Callable[[int], Result],
    *,
    attempts: int,
    pause: Callable[[int], float] = lambda _: 0.0,
    deaths: int | None = None,
    reason: str,
) -> tuple[Result | None, int]:
    """The result of a request, whose call is made again after transient errors.

    The loop is our own: it counts deaths apart from other attempts and ends in a result, not an exception.
    Ray's retries know no limit for one request among many; tenacity would need a callback for each rule.

    Args:
        request: whose result it is.
        call: makes one attempt, whose number is its argument (from 1).
        attempts: how many are made at most.
        pause: seconds to wait after an attempt that failed, by its number.
        deaths: after so many attempts that ended a process the result is None; unlimited if None.
        reason: why the request failed after its last attempt, with ``{times}`` and ``{error}``.

    Returns:
        The result, and how many attempts were made.

    Raises:
        ClusterError: it is the cluster that cannot go on.
    """
    died = 0
    for attempt in range(1, attempts + 1):
        try:
            return call(attempt), attempt
        except ClusterError:
            raise
        except Exception as err:
            if not is_transient(err):
                log.error("unexpected error", exc_info=err, extra={"request": request.id})
                return failed_result(request, err), attempt
            last = error_name(err)
            died += not is_overload(err)
        record("emoray_batch_retries_total", reason=last)
        log.warning("attempt %d failed: %s", attempt, last, extra={"request": request.id})
        if died == deaths:
            return None, attempt
        if attempt < attempts:
            time.sleep(pause(attempt))
    times = "once" if attempts == 1 else f"{attempts} times"
    text = reason.format(times=times, error=last)
    return failed(request, ClusterError(request.id, text)), attempts


_limit: float | None = None
"""Seconds that one step of this process may take, while a watchdog is on."""


@contextlib.contextmanager
def watchdog(seconds: float) -> Iterator[None]:
    """End this process if a step of the body takes longer; its log gets the stack. See ``step_done``.

    A library that does not return to the interpreter cannot prevent it.
    """
    global _limit  # as the timer of faulthandler is one for the process
    faulthandler.dump_traceback_later(seconds, exit=True)
    _limit = seconds
    try:
        yield
    finally:
        _limit = None
        faulthandler.cancel_dump_traceback_later()


def step_done() -> None:
    """Give the next step its whole time: a picture, a seed or one note of every piece is a step."""
    if _limit is not None:
        faulthandler.dump_traceback_later(_limit, exit=True)


def watched(build: BuildEngine, seconds: float) -> Engine:
    """The engine of ``build``, in a process that ends when one step of it takes longer than ``seconds``."""
    return partial(_answer_limited, engine=build(), seconds=seconds)


def isolated(build: BuildEngine, *, attempts: int, seconds: float) -> Engine:
    """An engine that answers one request after the other in a process of its own.

    A request that kills its process takes its neighbours along, as often as they are tried together. So the
    requests of a process that died go on here: a Ray actor answers them by the engine of ``build``, and what
    ends the actor fails one request alone.

    Args:
        build: runs in that process.
        attempts: how many processes a request may end.
        seconds: after which a request is given up.
    """
    return partial(_answer_isolated, build=build, attempts=attempts, seconds=seconds)


def _answer_limited(
    requests: Sequence[GenerationRequest], engine: Engine, seconds: float
) -> list[tuple[Result, int]]:
    with watchdog(seconds):
        return engine(requests)


def _answer_isolated(
    requests: Sequence[GenerationRequest], build: BuildEngine, attempts: int, seconds: float
) -> list[tuple[Result, int]]:
    process = _RequestProcess(build, seconds)
    reason = "ended its process {times}, even alone (out of memory, or a crash); take it out or give it more"

    def answer(request: GenerationRequest) -> tuple[Result, int]:
        result, count = retried(request, lambda _: process.answer(request), attempts=attempts, reason=reason)
        assert result is not None, "there is no limit to deaths but that of attempts"
        return result, count

    try:
        return [answer(request) for request in requests]
    finally:
        process.end()


class _RequestProcess:
    """The process of one request at a time: started when it is needed, and again when it has died."""

    def __init__(self, build: BuildEngine, seconds: float) -> None:
        self._build, self._seconds = build, seconds
        self._actor: Any = None

    def answer(self, request: GenerationRequest) -> Result:
        """The result of a request; failed if it takes too long.

        Raises:
            ClusterError: no process can be started.
            RayActorError: the request has ended its process.
        """
        if self._actor is None:
            self._actor = _started(self._build)
        try:
            result: Result = ray.get(self._actor.answer.remote(request), timeout=self._seconds)
            return result
        except GetTimeoutError:
            self.end()
            reason = (
                f"takes longer than {self._seconds:g} s, even alone; take it out or make its files shorter"
            )
            return failed(request, ClusterError(request.id, reason))
        except Exception:
            self.end()
            raise

    def end(self) -> None:
        """End the process, whatever it is doing."""
        if self._actor is not None:
            ray.kill(self._actor)
        self._actor = None


class _RequestActor:
    def __init__(self, build: BuildEngine) -> None:
        self._engine = build()

    def ready(self) -> None:
        """Return once the engine is there."""

    def answer(self, request: GenerationRequest) -> Result:
        [(result, _)] = self._engine([request])
        return result


def _started(build: BuildEngine) -> Any:
    start = ray.remote(_RequestActor).options(num_cpus=0).remote  # its caller needs no CPU meanwhile
    for _ in range(PROCESS_STARTS):
        actor = start(build)
        try:
            with report_waits("a process for one request", {"CPU": 0.0}):
                ray.get(actor.ready.remote())
            return actor
        except core.RayActorError as err:
            died = err
            log.warning("a process for one request died as it was started")
    reason = f"no process can be started for one request alone ({str(died).splitlines()[0]})"
    raise ClusterError("cluster", f"{reason}; give workers more memory") from died
