"""Stages: what the deployments run, without Serve, so that a test needs neither replicas nor a network.

Conventions
-----------
A loader builds a stage inside its replica; nothing loads at import. In a batch that fails as a whole each
member is tried alone, so a member harms no neighbour; what it raises is returned as a value, because Serve
would raise it for all of them.


Deployments: the face reader, the seed reader and the composer as Serve stages, and the one that asks them.

Conventions
-----------
A deployment is a thin wrapper over a stage of ``stages.py``. Work that takes a processor runs in a thread,
off the event loop: a replica goes on collecting its next batch and answering health checks meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ray import serve
from ray.serve.exceptions import BackPressureError, ReplicaUnavailableError

from emoray.emotion import Evidence
from emoray.errors import EmorayError
from emoray.generation import ReadFaces, ReadSeed, failed, prompt_of, result_of
from emoray.notes import Notes
from emoray.pipeline.failures import is_transient, together_or_alone
from emoray.pipeline.metrics import record, timed
from emoray.pipeline.resources import LIBRARIES, PASSING_ON, WORKING
from emoray.pipeline.worker import Loaders
from emoray.request import File, GenerationRequest, Prompt, Result
from emoray.web.app import GENERATE_PATH, build_app
from emoray.web.guards import OPEN_PATHS, observed
from emoray.web.settings import HttpSettings, ServeSettings

if TYPE_CHECKING:
    from emoray.compose.decoding import PromptDecoder  # torch, which only the composer's process needs


log = logging.getLogger(__name__)

Asked = TypeVar("Asked")
Given = TypeVar("Given")


Many = Callable[[Sequence[Asked]], Awaitable[list[Given]]]


async def answer_together(
    items: Sequence[GenerationRequest],
    *,
    read_faces: Many[bytes, Evidence | Exception],
    read_seeds: Many[File, Notes | Exception],
    compose: Many[Prompt, Notes | Exception],
    guidance: str,
) -> list[Result | Exception]:
    """Answer items: their pictures and their seeds at the same time, then the network.

    The same steps as ``generate_results``, with stages that may live in other processes. An item's mistake is
    its failed result, a bug that it brings out is the exception.

    Raises:
        Exception: a stage is gone.
    """
    pictures = [request.image.content for request in items if request.image is not None]
    seen, seeds = await asyncio.gather(
        _each(read_faces, pictures), _each(read_seeds, [request.seed for request in items])
    )
    faces = iter(seen)
    evidence = [None if request.image is None else next(faces) for request in items]
    prompts = [
        _prompt(request, seed, face, guidance)
        for request, seed, face in zip(items, seeds, evidence, strict=True)
    ]
    composed = iter(await _each(compose, [prompt for prompt in prompts if isinstance(prompt, Prompt)]))
    return [
        _result(request, prompt, face, next(composed)) if isinstance(prompt, Prompt) else prompt
        for request, prompt, face in zip(items, prompts, evidence, strict=True)
    ]


def in_pieces(stage: Many[Asked, Given], size: int) -> Many[Asked, Given]:
    """The stage, asked for a few at a time: several calls go to whichever replicas have least to do."""

    async def ask(asked: Sequence[Asked]) -> list[Given]:
        pieces = [asked[first : first + size] for first in range(0, len(asked), size)]
        answers = await asyncio.gather(*(stage(piece) for piece in pieces))
        return [answer for given in answers for answer in given]

    return ask


async def _each(stage: Many[Asked, Given], asked: Sequence[Asked]) -> list[Given]:
    return await stage(asked) if asked else []


def _prompt(
    request: GenerationRequest, seed: Notes | Exception, evidence: Evidence | Exception | None, guidance: str
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


SEEDS_AT_ONCE = 4
"""In one call to a seed reader: a shard of recordings takes seconds."""
LONG_SEED = 4 * 2**20
"""Bytes; a larger one may be a recording of many minutes, which takes seconds."""
SPARE = 8
"""Calls that a replica takes beyond its work: health checks, questions about the guidance."""


@contextlib.contextmanager
def recorded_call(stage: str, size: int) -> Iterator[None]:
    """The figures of one call of a stage with so many items."""
    record("emoray_serve_batch_size", size, stage=stage)
    with timed("emoray_serve_stage_seconds", stage=stage):
        yield


def tell(item: GenerationRequest, outcome: Result | Exception) -> None:
    """Figures and log of an item. Where it has no result, the caller may try again, or it is a bug."""
    if isinstance(outcome, Result):
        record("emoray_serve_requests_total", outcome=outcome.status)
        if outcome.error is not None:
            log.warning("failed: %s", outcome.error, extra={"request": item.id})
        return
    busy = is_transient(outcome)
    record("emoray_serve_requests_total", outcome="busy" if busy else "bug")
    if isinstance(outcome, BackPressureError):
        record("emoray_serve_refusals_total")
    if busy:
        log.warning("not answered: %s", type(outcome).__name__, extra={"request": item.id})
    else:
        log.error("unexpected error", exc_info=outcome, extra={"request": item.id})


def record_response(path: str, status: int) -> None:
    """The figures of an answer over HTTP; any path that is not ours counts as ``other``."""
    known = path if path in (GENERATE_PATH, *OPEN_PATHS) else "other"
    record("emoray_http_requests_total", path=known, status=str(status))


async def in_thread(seconds: float, work: Callable[..., Any], *given: Any) -> Any:
    """``work`` in a thread. Where it does not come back, this replica ends: it would be busy for ever."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(work, *given), seconds)
    except TimeoutError:
        end_if_stuck(seconds, seconds)


def end_if_stuck(since: float, seconds: float) -> None:
    """End this replica if a call began as long ago as it may take; nobody can interrupt it."""
    if since >= seconds:
        log.critical("a call took longer than %g s; this replica ends", seconds)
        os._exit(1)


class Faces:
    """Pictures that arrive together, read in one call."""

    def __init__(self, settings: ServeSettings, load: Callable[[ServeSettings], ReadFaces]) -> None:
        self._read, self._seconds = load(settings), settings.stage_timeout
        self.read.set_max_batch_size(settings.max_batch_size)
        self.read.set_batch_wait_timeout_s(settings.batch_wait)

    @serve.batch
    async def read(self, pictures: list[bytes]) -> list[Evidence | Exception]:
        """What each picture says."""
        with recorded_call("faces", len(pictures)):
            return await in_thread(self._seconds, together_or_alone, self._read, pictures)

    async def read_many(self, pictures: Sequence[bytes]) -> list[Evidence | Exception]:
        """What each picture says, read with those of other calls."""
        return await asyncio.gather(*(self.read(picture) for picture in pictures))


class Seeds:
    """Seeds, each read on its own, one after the other: threads would only wait for each other's GIL.

    Long ones have a line of their own, so no other waits for them.
    """

    def __init__(self, settings: ServeSettings, load: Callable[[ServeSettings], ReadSeed]) -> None:
        self._read, self._seconds = load(settings), settings.stage_timeout
        self._turn, self._turn_of_long = asyncio.Semaphore(1), asyncio.Semaphore(1)

    async def read(self, seed: File) -> Notes | Exception:
        """The seed's notes, or why there are none."""
        turn = self._turn_of_long if len(seed.content) > LONG_SEED else self._turn
        async with turn:  # they wait here, because Serve looks for a free replica ever less often
            with recorded_call("seeds", 1):
                [notes] = await in_thread(self._seconds, together_or_alone, self._read_each, [seed])
                return notes

    async def read_many(self, seeds: Sequence[File]) -> list[Notes | Exception]:
        """The notes of each seed, or why there are none."""
        return await asyncio.gather(*(self.read(seed) for seed in seeds))

    def _read_each(self, seeds: Sequence[File]) -> list[Notes]:
        return [self._read(seed) for seed in seeds]


class ComposerDeployment:
    """Requests composed together with those that are under way when they arrive."""

    def __init__(
        self, settings: ServeSettings, load: Callable[[ServeSettings], tuple[PromptDecoder, str]]
    ) -> None:
        from emoray.pipeline.continuous_batching import ContinuousBatcher

        composer, self._guidance = load(settings)
        self._seconds = settings.stage_timeout
        self._batcher = ContinuousBatcher(
            composer,
            rows=settings.max_batch_size,
            gather=settings.batch_wait,
            entered=lambda rows: record("emoray_serve_batch_size", rows, stage="composer"),
        )

    async def compose(self, request: Prompt) -> Notes | Exception:
        """The composed notes of a request."""
        answer = asyncio.wrap_future(self._batcher.ask(request))
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

    async def compose_many(self, requests: Sequence[Prompt]) -> list[Notes | Exception]:
        """The composed notes of each request."""
        return await asyncio.gather(*(self.compose(request) for request in requests))

    async def guidance(self) -> str:
        """The mode for items that name none; any answer also says that the composer is alive."""
        return self._guidance


class Answers:
    """An item to its result, through the three stages."""

    def __init__(self, faces: Any, seeds: Any, composer: Any, most: int) -> None:
        """Ask these stages, for at most so many callers at once: the others hear that they should come back.

        Serve's own limit is for a burst alone. Whoever waits there is let in ever more slowly.
        """
        self._faces, self._seeds, self._composer, self._most = faces, seeds, composer, most
        self._guidance: str | None = None
        self._under_way = 0
        self._closing = False

    async def answer(self, item: GenerationRequest) -> Result:
        """The result of an item; a mistake of its user is a failed result, a bug is raised.

        Raises:
            BackPressureError, ReplicaUnavailableError: as many are under way as may be; this replica closes.
        """
        [outcome] = await self.answer_many([item])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def answer_many(self, items: Sequence[GenerationRequest]) -> list[Result | Exception]:
        """The result of each item; a bug that an item brings out is its exception.

        Raises:
            BackPressureError, ReplicaUnavailableError: as many are under way as may be; this replica closes.
        """
        if self._closing:
            raise ReplicaUnavailableError(type(self).__name__)
        if self._under_way >= self._most:
            busy = BackPressureError(self._under_way, self._most)
            for item in items:
                tell(item, busy)
            raise busy
        self._under_way += 1
        try:
            with timed("emoray_serve_answer_seconds"):
                outcomes = await self._answer(items)
        except asyncio.CancelledError:  # nobody waits for it any more
            record("emoray_serve_requests_total", len(items), outcome="cancelled")
            raise
        except Exception as err:
            for item in items:
                tell(item, err)
            raise
        finally:
            self._under_way -= 1
        for item, outcome in zip(items, outcomes, strict=True):
            tell(item, outcome)
        return outcomes

    async def _answer(self, items: Sequence[GenerationRequest]) -> list[Result | Exception]:
        if self._guidance is None:
            self._guidance = await self.ready()
        return await answer_together(
            items,
            read_faces=self._faces.read_many.remote,
            read_seeds=in_pieces(self._seeds.read_many.remote, SEEDS_AT_ONCE),
            compose=self._composer.compose_many.remote,
            guidance=self._guidance,
        )

    async def close(self) -> None:
        """Take no more items; returns when those under way have their results.

        Serve alone would take the stages down at the same time as this one, and with them what an item
        still needs.
        """
        self._closing = True
        while self._under_way:
            await asyncio.sleep(0.1)

    async def ready(self) -> str:
        """The default guidance mode, asked from a composer: it answers only when one is alive."""
        return await self._composer.guidance.remote()


class Door(Answers):
    """``Answers`` with an HTTP door in front."""

    def __init__(self, faces: Any, seeds: Any, composer: Any, most: int, http: HttpSettings) -> None:
        super().__init__(faces, seeds, composer, most)
        self._http = http

    def __serve_build_asgi_app__(self) -> Any:
        """Build the app in the replica, where nothing of it has to be pickled."""
        return observed(build_app(self.answer, self.ready, is_transient, self._http), record_response)


def application(settings: ServeSettings, http: HttpSettings | None, loaders: Loaders) -> serve.Application:
    """The four deployments, bound to each other; with ``http`` the last one has a door."""
    room = settings.in_flight + SPARE  # all may come to one replica
    faces = _stage(Faces, settings.face_replicas, settings.face_cpus, room, settings)
    seeds = _stage(Seeds, settings.seed_replicas, settings.seed_cpus, room, settings)
    composer = _stage(ComposerDeployment, settings.composer_replicas, settings.composer_cpus, room, settings)
    stages = (
        faces.bind(settings, loaders.faces),
        seeds.bind(settings, loaders.seeds),
        composer.bind(settings, loaders.composer),
    )
    replicas, cpus = settings.answer_replicas, settings.answer_cpus
    most = 2 * settings.in_flight + SPARE
    if http is None:
        return _stage(Answers, replicas, cpus, 2 * most, settings, PASSING_ON).bind(*stages, most)
    door = _stage(serve.ingress()(Door), replicas, cpus, 2 * most, settings, PASSING_ON)
    return door.options(name=Answers.__name__).bind(*stages, most, http)


def _stage(
    kind: type,
    replicas: int,
    cpus: float,
    at_once: int,
    settings: ServeSettings,
    memory: dict[str, str] = WORKING,
) -> serve.Deployment:
    """A deployment that takes ``at_once`` calls a replica and lets as many as a full house wait."""
    return serve.deployment(kind).options(
        name=kind.__name__,
        num_replicas=replicas,
        max_ongoing_requests=at_once,
        max_queued_requests=settings.in_flight + SPARE,
        backpressure_config={"status_code": 503, "retry_after_s": 1},
        max_constructor_retry_count=2,
        graceful_shutdown_timeout_s=10,
        ray_actor_options={"num_cpus": cpus, "runtime_env": {"env_vars": LIBRARIES | memory}},
        logging_config={"enable_access_log": False},
    )
