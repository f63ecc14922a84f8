"""Serve application: deployments that read pictures, read seeds and compose, and the ingress that calls them.

Conventions
-----------
A deployment is a thin wrapper: what it runs is loaded by ``worker.py`` and could run without Serve. Work that
takes a processor runs in a thread, off the event loop, so a replica goes on collecting its next batch and
answering health checks. An error is returned as a value, because Serve would raise it for a whole batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve.exceptions import BackPressureError, ReplicaUnavailableError

from emoray.emotion import Evidence
from emoray.errors import EmorayError
from emoray.generation import ReadFaces, ReadSeed, failed, prompt_of, result_of
from emoray.notes import Notes
from emoray.pipeline.failures import In, Out, errors_apart, is_transient
from emoray.pipeline.metrics import record, timed
from emoray.pipeline.resources import COMPUTING, LIBRARIES, RELAYING
from emoray.pipeline.worker import Loaders
from emoray.request import File, GenerationRequest, Prompt, Result
from emoray.web.app import GENERATE_PATH, build_app
from emoray.web.guards import OPEN_PATHS, observed
from emoray.web.settings import HttpSettings, ServeSettings

if TYPE_CHECKING:
    from emoray.compose.decoding import PromptDecoder  # torch, which only the composer's process needs

log = logging.getLogger(__name__)

Stage = Callable[[Sequence[In]], Awaitable[list[Out]]]
"""A call of a deployment: [n] inputs to [n] outputs."""

SEEDS_PER_CALL = 4
"""In one call of a seed reader: a shard of recordings takes seconds."""
LONG_SEED_BYTES = 4 * 2**20
"""A larger seed may be a recording of many minutes, which takes seconds to read."""
SPARE_CALLS = 8
"""Calls that a replica takes beyond its work: health checks, questions about the guidance."""


@contextlib.contextmanager
def recorded_call(stage: str, size: int) -> Iterator[None]:
    """Record size and duration of one call of a stage."""
    record("emoray_serve_batch_size", size, stage=stage)
    with timed("emoray_serve_stage_seconds", stage=stage):
        yield


def record_outcome(request: GenerationRequest, outcome: Result | Exception) -> None:
    """Count and log a request: answered, failed, busy (the caller may retry) or a bug."""
    if isinstance(outcome, Result):
        record("emoray_serve_requests_total", outcome=outcome.status)
        if outcome.error is not None:
            log.warning("failed: %s", outcome.error, extra={"request": request.id})
        return
    busy = is_transient(outcome)
    record("emoray_serve_requests_total", outcome="busy" if busy else "bug")
    if isinstance(outcome, BackPressureError):
        record("emoray_serve_refusals_total")
    if busy:
        log.warning("not answered: %s", type(outcome).__name__, extra={"request": request.id})
    else:
        log.error("unexpected error", exc_info=outcome, extra={"request": request.id})


def record_response(path: str, status: int) -> None:
    """Count a response over HTTP; any path that is not ours counts as ``other``."""
    known = path if path in (GENERATE_PATH, *OPEN_PATHS) else "other"
    record("emoray_http_requests_total", path=known, status=str(status))


async def in_thread(seconds: float, work: Callable[..., Any], *given: Any) -> Any:
    """Run ``work`` in a thread. If it does not return in time this replica ends, else it is busy for ever."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(work, *given), seconds)
    except TimeoutError:
        end_if_stuck(seconds, seconds)


async def in_thread_to_its_end(
    turn: asyncio.Semaphore, seconds: float, work: Callable[..., Any], *given: Any
) -> Any:
    """``in_thread``, once it is this caller's turn; the turn lasts until the thread has ended.

    A caller who leaves cannot stop a thread that runs, so it keeps its turn: else as many threads would run
    as callers have left. Work that has not begun when its caller leaves is not begun.
    """
    await turn.acquire()
    running = asyncio.ensure_future(in_thread(seconds, work, *given))
    running.add_done_callback(lambda _: turn.release())
    return await asyncio.shield(running)


def end_if_stuck(since: float, seconds: float) -> None:
    """End this replica if a call has taken as long as it may; nobody can interrupt it."""
    if since >= seconds:
        log.critical("a call took longer than %g s; this replica ends", seconds)
        os._exit(1)


class FaceReaderDeployment:
    """Pictures that arrive together are read in one call."""

    def __init__(self, settings: ServeSettings, load: Callable[[ServeSettings], ReadFaces]) -> None:
        self._read, self._seconds = load(settings), settings.stage_timeout
        self.read.set_max_batch_size(settings.max_batch_size)
        self.read.set_batch_wait_timeout_s(settings.batch_wait)

    @serve.batch
    async def read(self, pictures: list[bytes]) -> list[Evidence | Exception]:
        """The evidence of each picture."""
        with recorded_call("faces", len(pictures)):
            return await in_thread(self._seconds, errors_apart, self._read, pictures)

    async def read_many(self, pictures: Sequence[bytes]) -> list[Evidence | Exception]:
        """The evidence of each picture, read with those of other calls."""
        return await asyncio.gather(*(self.read(picture) for picture in pictures))


class SeedReaderDeployment:
    """Seeds are read one after the other: threads would only wait for each other's GIL.

    Long ones have a queue of their own, so no other waits for them.
    """

    def __init__(self, settings: ServeSettings, load: Callable[[ServeSettings], ReadSeed]) -> None:
        self._read, self._seconds = load(settings), settings.stage_timeout
        self._turn, self._turn_of_long = asyncio.Semaphore(1), asyncio.Semaphore(1)

    async def read(self, seed: File) -> Notes | Exception:
        """The seed's notes, or why there are none."""
        turn = self._turn_of_long if len(seed.content) > LONG_SEED_BYTES else self._turn
        # it waits here, because Serve's router looks for a free replica ever less often
        [notes] = await in_thread_to_its_end(turn, self._seconds, self._read_recorded, seed)
        return notes

    async def read_many(self, seeds: Sequence[File]) -> list[Notes | Exception]:
        """The notes of each seed, or why there are none."""
        return await asyncio.gather(*(self.read(seed) for seed in seeds))

    def _read_recorded(self, seed: File) -> list[Notes | Exception]:
        with recorded_call("seeds", 1):
            return errors_apart(lambda one: [self._read(one[0])], [seed])


class ComposerDeployment:
    """Prompts join those that are being composed when they arrive."""

    def __init__(
        self, settings: ServeSettings, load: Callable[[ServeSettings], tuple[PromptDecoder, str]]
    ) -> None:
        from emoray.pipeline.continuous_batching import ContinuousBatcher

        decoder, self._guidance = load(settings)
        self._seconds = settings.stage_timeout
        self._batcher = ContinuousBatcher(
            decoder,
            rows=settings.max_batch_size,
            gather=settings.batch_wait,
            on_join=lambda size: record("emoray_serve_batch_size", size, stage="composer"),
        )

    async def compose(self, prompt: Prompt) -> Notes | Exception:
        """The composed notes of a prompt."""
        answer = asyncio.wrap_future(self._batcher.ask(prompt))
        with timed("emoray_serve_stage_seconds", stage="composer"):
            try:
                while not (await asyncio.wait([answer], timeout=self._seconds))[0]:
                    end_if_stuck(self._batcher.stuck, self._seconds)
            finally:
                answer.cancel()  # has no effect on one that is done
        if err := answer.exception():
            assert isinstance(err, Exception)
            return err
        record("emoray_serve_notes_total", len(answer.result()))
        return answer.result()

    async def compose_many(self, prompts: Sequence[Prompt]) -> list[Notes | Exception]:
        """The composed notes of each prompt."""
        return await asyncio.gather(*(self.compose(prompt) for prompt in prompts))

    async def guidance(self) -> str:
        """The mode of requests that name none; any answer also says that the composer is alive."""
        return self._guidance


class Ingress:
    """A request to its result, through the three other deployments."""

    def __init__(self, faces: Any, seeds: Any, composer: Any, most: int) -> None:
        """Call these handles, for at most so many callers at once: more are refused and should retry.

        Serve's own limit is for a burst alone. A caller that waits there is let in ever more slowly.
        """
        self._faces, self._seeds, self._composer, self._most = faces, seeds, composer, most
        self._guidance: str | None = None
        self._under_way = 0
        self._closing = False

    async def generate(self, request: GenerationRequest) -> Result:
        """The result of a request; a mistake of its user is a failed result, a bug is raised.

        Raises:
            BackPressureError, ReplicaUnavailableError: as many are under way as may be; this replica closes.
        """
        [outcome] = await self.generate_many([request])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def generate_many(self, requests: Sequence[GenerationRequest]) -> list[Result | Exception]:
        """The result of each request; a bug that a request brings out is its exception.

        Raises:
            BackPressureError, ReplicaUnavailableError: as many are under way as may be; this replica closes.
        """
        if self._closing:
            raise ReplicaUnavailableError(type(self).__name__)
        if self._under_way >= self._most:
            busy = BackPressureError(self._under_way, self._most)
            for request in requests:
                record_outcome(request, busy)
            raise busy
        self._under_way += 1
        try:
            with timed("emoray_serve_request_seconds"):
                outcomes = await self._generate(requests)
        except asyncio.CancelledError:  # nobody waits for it any more
            record("emoray_serve_requests_total", len(requests), outcome="cancelled")
            raise
        except Exception as err:
            for request in requests:
                record_outcome(request, err)
            raise
        finally:
            self._under_way -= 1
        for request, outcome in zip(requests, outcomes, strict=True):
            record_outcome(request, outcome)
        return outcomes

    async def _generate(self, requests: Sequence[GenerationRequest]) -> list[Result | Exception]:
        if self._guidance is None:
            self._guidance = await self.ready()
        return await generate_by_stages(
            requests,
            read_faces=self._faces.read_many.remote,
            read_seeds=in_pieces(self._seeds.read_many.remote, SEEDS_PER_CALL),
            compose=self._composer.compose_many.remote,
            guidance=self._guidance,
        )

    async def close(self) -> None:
        """Take no more requests; returns when those under way have their results.

        Serve alone would take all deployments down at once, and with them what a request still needs.
        """
        self._closing = True
        while self._under_way:
            await asyncio.sleep(0.1)

    async def ready(self) -> str:
        """The default guidance mode, from a composer: there is an answer only when one is alive."""
        return await self._composer.guidance.remote()


class HttpIngress(Ingress):
    """``Ingress`` that answers HTTP."""

    def __init__(self, faces: Any, seeds: Any, composer: Any, most: int, http: HttpSettings) -> None:
        super().__init__(faces, seeds, composer, most)
        self._http = http

    def __serve_build_asgi_app__(self) -> Any:
        """Build the app in the replica, where nothing of it has to be pickled."""
        return observed(build_app(self.generate, self.ready, is_transient, self._http), record_response)


async def generate_by_stages(
    requests: Sequence[GenerationRequest],
    *,
    read_faces: Stage[bytes, Evidence | Exception],
    read_seeds: Stage[File, Notes | Exception],
    compose: Stage[Prompt, Notes | Exception],
    guidance: str,
) -> list[Result | Exception]:
    """Answer requests: their pictures and their seeds at the same time, then the network.

    The same steps as ``generate_results``, with stages that may live in other processes. A request's mistake
    is its failed result, a bug that it brings out is the exception.

    Raises:
        Exception: a stage is gone.
    """
    pictures = [request.image.content for request in requests if request.image is not None]
    seen, seeds = await asyncio.gather(
        _called(read_faces, pictures), _called(read_seeds, [request.seed for request in requests])
    )
    faces = iter(seen)
    evidence = [None if request.image is None else next(faces) for request in requests]
    prompts = [
        _prompt(request, seed, face, guidance)
        for request, seed, face in zip(requests, seeds, evidence, strict=True)
    ]
    composed = iter(await _called(compose, [prompt for prompt in prompts if isinstance(prompt, Prompt)]))
    return [
        _result(request, prompt, face, next(composed)) if isinstance(prompt, Prompt) else prompt
        for request, prompt, face in zip(requests, prompts, evidence, strict=True)
    ]


def in_pieces(stage: Stage[In, Out], size: int) -> Stage[In, Out]:
    """The stage, called for a few inputs at a time: the calls go to whichever replicas have least to do."""

    async def call(inputs: Sequence[In]) -> list[Out]:
        pieces = [inputs[first : first + size] for first in range(0, len(inputs), size)]
        outputs = await asyncio.gather(*(stage(piece) for piece in pieces))
        return [output for given in outputs for output in given]

    return call


async def _called(stage: Stage[In, Out], inputs: Sequence[In]) -> list[Out]:
    return await stage(inputs) if inputs else []


def _prompt(
    request: GenerationRequest,
    seed: Notes | Exception,
    evidence: Evidence | Exception | None,
    guidance: str,
) -> Prompt | Result | Exception:
    """What to compose for a request, its failed result, or the bug that it brought out."""
    if isinstance(evidence, Exception):
        return failed(request, evidence) if isinstance(evidence, EmorayError) else evidence
    if isinstance(seed, Exception) and not isinstance(seed, EmorayError):
        return seed
    prompt = prompt_of(request, seed, evidence, guidance=guidance)
    return prompt if isinstance(prompt, Prompt) else result_of(request, prompt, prompt, evidence)


def _result(
    request: GenerationRequest,
    prompt: Prompt,
    evidence: Evidence | Exception | None,
    composed: Notes | Exception,
) -> Result | Exception:
    assert not isinstance(evidence, Exception), "then there is nothing to compose"
    if isinstance(composed, Exception) and not isinstance(composed, EmorayError):
        return composed
    return result_of(request, prompt, composed, evidence)


def application(settings: ServeSettings, http: HttpSettings | None, loaders: Loaders) -> serve.Application:
    """The four deployments, bound to each other; with ``http`` the ingress answers HTTP."""
    room = settings.in_flight + SPARE_CALLS  # all may come to one replica
    handles = (
        _deployment(FaceReaderDeployment, "face", room, settings).bind(settings, loaders.faces),
        _deployment(SeedReaderDeployment, "seed", room, settings).bind(settings, loaders.seeds),
        _deployment(ComposerDeployment, "composer", room, settings).bind(settings, loaders.composer),
    )
    most = 2 * settings.in_flight + SPARE_CALLS
    if http is None:
        return _deployment(Ingress, "ingress", 2 * most, settings).bind(*handles, most)
    ingress = _deployment(serve.ingress()(HttpIngress), "ingress", 2 * most, settings)
    return ingress.bind(*handles, most, http)


def _deployment(kind: type, stage: str, at_once: int, settings: ServeSettings) -> serve.Deployment:
    """A deployment that takes ``at_once`` calls a replica; as many calls as are in flight may wait."""
    memory = RELAYING if issubclass(kind, Ingress) else COMPUTING
    return serve.deployment(kind).options(
        name=stage,
        num_replicas=getattr(settings, f"{stage}_replicas"),
        max_ongoing_requests=at_once,
        max_queued_requests=settings.in_flight + SPARE_CALLS,
        backpressure_config={"status_code": 503, "retry_after_s": 1},
        max_constructor_retry_count=2,
        graceful_shutdown_timeout_s=10,
        graceful_shutdown_wait_loop_s=0.2,  # looks that often whether its requests are answered
        health_check_period_s=2,  # after which a replica that died is replaced
        ray_actor_options={
            "num_cpus": getattr(settings, f"{stage}_cpus"),
            "runtime_env": {"env_vars": LIBRARIES | memory},
        },
        logging_config={"enable_access_log": False},
    )
