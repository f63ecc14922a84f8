"""Serve engine: the requests of a batch through an application of Ray Serve that is its own.

Conventions
-----------
The driver deploys the application and deletes it. A worker of Ray Data calls it and composes nothing; it
blocks, so it is never used inside a deployment.

Requests are first sent several to a call, because a call costs as much as a tenth of a row of music. After a
transient error (``failures.py``) each of them is sent again in a call of its own, after a pause that doubles
and that chance spreads. A request is idempotent, so a call made twice costs time and nothing else. A request
whose calls have ended two replicas goes on in a process of its own: in Serve it would end those of others
too.

An application that is gone as a whole ends the batch: it would fail all the requests that are left.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from ray.serve.exceptions import RayServeException

from emoray.batch.folder import BatchSettings
from emoray.batch.shard import Engine
from emoray.errors import ClusterError
from emoray.pipeline.failures import is_transient, isolated, retried
from emoray.pipeline.serve_deployment import delete, deploy, handle_of
from emoray.pipeline.worker import Loaders, data_engine
from emoray.request import GenerationRequest, Result
from emoray.web.settings import ServeSettings

Outcome = Result | Exception

WORKER_CPUS = 0.1
"""CPUs of a worker, which waits for Serve, reads files and writes them."""
COMPOSERS_PER_READER = 4
"""Composers that one face reader and one ingress keep up with: they are some ten times as fast."""
CALL_REQUESTS, CALL_BYTES = 64, 64_000_000
"""Requests in a call, and bytes of their files, at most: as many as a network composes at a time."""
LONGEST_PAUSE = 30.0
"""Seconds between two attempts at a request, before chance spreads them."""
DEATHS = 2
"""Calls of a request that may die before it goes alone: replicas die for other reasons too."""


def staffed(settings: ServeSettings, cpus: int, rows: int) -> ServeSettings:
    """The settings with as many replicas as keep the CPUs busy: a composer is one thread.

    >>> staffed(ServeSettings(), 8, 2000).composer_replicas, staffed(ServeSettings(), 8, 40).composer_replicas
    (8, 2)
    """
    composers = min(cpus, max(1, math.ceil(2 * rows / settings.max_batch_size)))
    others = math.ceil(composers / COMPOSERS_PER_READER)
    return replace(
        settings,
        composer_replicas=composers,
        seed_replicas=composers,  # pYIN takes as long as composing
        face_replicas=others,
        ingress_replicas=others,
    )


@contextlib.contextmanager
def serving(
    batch: BatchSettings, settings: ServeSettings, loaders: Loaders, name: str
) -> Iterator[Callable[[], Engine]]:
    """Deploy an application for this batch alone; what a killed driver left of it is replaced."""
    settings = replace(settings, app=f"emoray-batch-{name}")
    deploy(settings, loaders=loaders)
    build = partial(data_engine, settings, loaders)
    alone = isolated(build, attempts=batch.attempts, seconds=batch.timeout)
    try:
        yield partial(serve_engine, settings.app, batch, alone)
    finally:
        delete(settings.app)


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


def answer_all(
    handle: Any,
    requests: Sequence[GenerationRequest],
    *,
    window: int,
    timeout_s: float,
    attempts: int,
    jitter: random.Random,
    pause_s: float = 0.5,
    alone: Engine | None = None,
) -> list[tuple[Result, int]]:
    """Answer requests through Serve, several at a time.

    Args:
        handle: what ``deploy`` or ``handle_of`` gave.
        requests: [n]
        window: requests under way at once; over all workers together ``ServeSettings.in_flight`` is enough.
        timeout_s: seconds for one attempt at one request, the wait in Serve's queue included; requests of a
            call share theirs.
        attempts: how many attempts a request has, at least 1.
        jitter: spreads the pauses, so that callers do not come back all at once.
        pause_s: seconds before the second attempt, on average.
        alone: answers requests whose calls keep dying; None is Serve again.

    Returns:
        [n] of (result, attempts it took), in the order of ``requests``.

    Raises:
        ClusterError: the application is not running.
    """
    assert window > 0
    assert attempts > 0

    def pause(attempt: int) -> float:
        return min(pause_s * 2 ** (attempt - 1), LONGEST_PAUSE) * jitter.uniform(0.5, 1.5)

    def answer(request: GenerationRequest, first: Outcome) -> tuple[Result | None, int]:
        def call(attempt: int) -> Result:
            [outcome] = [first] if attempt == 1 else _outcomes(handle, [request], timeout_s)
            if isinstance(outcome, Result):
                return outcome
            if isinstance(outcome, RayServeException) and not is_transient(outcome):
                reason = f"the application is gone ({outcome}); start the batch again"
                raise ClusterError("serve", reason) from outcome
            raise outcome

        reason = "tried {times}, the last time {error}; retry it when the cluster is well"
        deaths = None if alone is None else DEATHS
        return retried(request, call, attempts=attempts, pause=pause, deaths=deaths, reason=reason)

    size = min(CALL_REQUESTS, window)
    with ThreadPoolExecutor(window // size, thread_name_prefix="call") as threads:
        calls = threads.map(lambda some: _outcomes(handle, some, timeout_s), _call_groups(requests, size))
        outcomes = [outcome for group in calls for outcome in group]
    with ThreadPoolExecutor(window, thread_name_prefix="answer") as threads:
        answers = list(threads.map(answer, requests, outcomes))
    suspects = [request for request, (result, _) in zip(requests, answers, strict=True) if result is None]
    apart = iter(alone(suspects) if alone and suspects else [])
    return [next(apart) if result is None else (result, count) for result, count in answers]


def _call_groups(requests: Sequence[GenerationRequest], most: int) -> Iterator[list[GenerationRequest]]:
    """The requests as they go into calls, in order."""
    group: list[GenerationRequest] = []
    size = 0
    for request in requests:
        if group and (len(group) == most or size + request.size > CALL_BYTES):
            yield group
            group, size = [], 0
        group.append(request)
        size += request.size
    if group:
        yield group


def _outcomes(handle: Any, requests: Sequence[GenerationRequest], timeout_s: float) -> list[Outcome]:
    """What one call gives for each of some requests: its result, or the error."""
    response = handle.generate_many.remote(requests)
    try:
        outcomes: list[Outcome] = response.result(timeout_s=timeout_s * len(requests))
        return outcomes
    except Exception as err:  # noqa: BLE001 a replica's bug can be anything, and must not end the batch
        if isinstance(err, TimeoutError):
            response.cancel()  # nobody waits for it any more
        return [err] * len(requests)
