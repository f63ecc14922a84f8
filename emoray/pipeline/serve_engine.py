"""Client: items to a Serve handle and their results back, for batch jobs.

Conventions
-----------
Runs in a Ray Data worker or a driver, never inside a deployment: it blocks. Items are first asked for several
to a call, because a call costs as much as a tenth of a row of music. What fails because a replica died, was
overloaded or took too long is asked for again, item by item, after a pause that doubles and that chance
spreads, up to ``attempts`` times. An item is idempotent, so a call made twice costs time and nothing else.

An item that kills its replica would take those along that share it, call after call. So an item whose calls
have died twice no longer goes through Serve but to ``alone``, where it meets nobody.

One item must not end a batch of 100,000: an unexpected error (a bug that an item brings out) becomes the
failed result of that item, with the error's type and message, and its traceback goes to the log as an
ERROR. An application that is gone as a whole does end the batch: it would fail all the items that are left.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from ray.serve.exceptions import RayServeException

from emoray.batch.folder import BatchSettings
from emoray.batch.shard import Engine
from emoray.errors import ClusterError
from emoray.generation import broken, failed
from emoray.pipeline.failures import busy, is_any, is_transient, isolated
from emoray.pipeline.metrics import record
from emoray.pipeline.serve_deployment import delete, deploy, handle_of
from emoray.pipeline.worker import Loaders, data_engine
from emoray.request import GenerationRequest, Result
from emoray.web.settings import ServeSettings

log = logging.getLogger(__name__)

Outcome = Result | Exception
LONGEST_PAUSE = 30.0
"""Seconds."""
TOGETHER, MOST_BYTES = 64, 64_000_000
"""Items in a call, and bytes of their files, at most: as many as a network composes at a time."""
DEATHS = 2
"""Calls of an item that may die before it goes alone: replicas die for other reasons too."""


def answer_all(
    handle: Any,
    items: Sequence[GenerationRequest],
    *,
    window: int,
    timeout_s: float,
    attempts: int,
    jitter: random.Random,
    pause_s: float = 0.5,
    alone: Engine | None = None,
) -> list[tuple[Result, int]]:
    """Answer items through Serve, several at a time.

    Args:
        handle: what ``deploy`` or ``handle_of`` gave.
        items: [n]
        window: items under way at once; over all actors together ``ServeSettings.in_flight`` is enough.
        timeout_s: seconds for one attempt at one item, the wait in Serve's queue included; items of a call
            share theirs.
        attempts: how often one item is tried, at least 1.
        jitter: spreads the pauses, so that callers do not come back all at once.
        pause_s: seconds before the second attempt, on average.
        alone: answers items whose calls keep dying; None is Serve again.

    Returns:
        [n] of (result, attempts it took), in the order of ``items``.

    Raises:
        ClusterError: the application is not running.
    """
    assert window > 0
    assert attempts > 0

    together = min(TOGETHER, window)
    with ThreadPoolExecutor(window // together, thread_name_prefix="ask") as threads:
        groups = threads.map(lambda group: _outcomes(handle, group, timeout_s), _groups(items, together))
        outcomes = [outcome for group in groups for outcome in group]

    pauses = [pause_s * 2**i for i in range(attempts - 1)]
    deaths = attempts + 1 if alone is None else DEATHS

    def answer(item: GenerationRequest, first: Outcome) -> tuple[Result, int] | None:
        if isinstance(first, Result):
            return first, 1
        return _answer(handle, item, first, timeout_s, pauses, jitter, deaths)

    with ThreadPoolExecutor(window, thread_name_prefix="answer") as threads:
        answers = list(threads.map(answer, items, outcomes))
    suspects = [item for item, given in zip(items, answers, strict=True) if given is None]
    apart = iter(alone(suspects) if alone and suspects else [])
    return [next(apart) if given is None else given for given in answers]


def _groups(items: Sequence[GenerationRequest], together: int) -> Iterator[list[GenerationRequest]]:
    """Items as they go into calls, in order."""
    group: list[GenerationRequest] = []
    size = 0
    for item in items:
        more = item.size
        if group and (len(group) == together or size + more > MOST_BYTES):
            yield group
            group, size = [], 0
        group.append(item)
        size += more
    if group:
        yield group


def _outcomes(handle: Any, items: Sequence[GenerationRequest], timeout_s: float) -> list[Outcome]:
    """What a call for some items gives for each of them: its result, or what went wrong."""
    try:
        return _call(handle, items, timeout_s * len(items))
    except Exception as err:  # noqa: BLE001 a replica's bug can be anything, and must not end the batch
        return [err] * len(items)


def _answer(
    handle: Any,
    item: GenerationRequest,
    outcome: Outcome,
    timeout_s: float,
    pauses: Sequence[float],
    jitter: random.Random,
    deaths: int,
) -> tuple[Result, int] | None:
    """The result of one item, and the attempt that gave it; a pause follows each attempt but the last.

    None once as many of its calls as ``deaths`` have died. ``outcome`` is that of its first attempt.
    """
    died = 0
    for attempt, pause in enumerate([*pauses, None], start=1):
        if attempt > 1:
            [outcome] = _outcomes(handle, [item], timeout_s)
        if isinstance(outcome, Result):
            return outcome, attempt
        if not is_transient(outcome):
            return _unexpected(item, outcome), attempt
        record("emoray_batch_retries_total", reason=_name(outcome))
        log.warning("attempt %d failed: %s", attempt, _name(outcome), extra={"request": item.id})
        died += not is_any(outcome, busy())
        if died == deaths:
            return None
        if pause is None:
            return _gave_up(item, outcome, attempt), attempt
        time.sleep(min(pause, LONGEST_PAUSE) * jitter.uniform(0.5, 1.5))
    raise AssertionError("the last attempt returns")


def _call(handle: Any, items: Sequence[GenerationRequest], timeout_s: float) -> list[Outcome]:
    response = handle.answer_many.remote(items)
    try:
        outcomes: list[Outcome] = response.result(timeout_s=timeout_s)
        return outcomes
    except TimeoutError:
        response.cancel()  # nobody waits for it any more
        raise


def _unexpected(item: GenerationRequest, err: Exception) -> Result:
    if isinstance(err, RayServeException):
        raise ClusterError("serve", f"the application is gone ({err}); start the batch again") from err
    log.error("unexpected error", exc_info=err, extra={"request": item.id})
    what = f"{_name(err)}: {_last_line(getattr(err, 'cause', None) or err)}"
    return broken(item.id, what)


def _gave_up(item: GenerationRequest, err: Exception, attempts: int) -> Result:
    times = "once" if attempts == 1 else f"{attempts} times"
    reason = f"tried {times}, the last time {_name(err)}; retry it when the cluster is well"
    return failed(item, ClusterError(item.id, reason))


def _name(err: BaseException) -> str:
    return type(getattr(err, "cause", None) or err).__name__


def _last_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [""])[-1]


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
