"""Stages: what the deployments run, without Serve, so that a test needs neither replicas nor a network.

Conventions
-----------
A loader builds a stage inside its replica; nothing loads at import. In a batch that fails as a whole each
member is tried alone, so a member harms no neighbour; what it raises is returned as a value, because Serve
would raise it for all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from emoray.config import Limits, Prompt
from emoray.emotion import Evidence
from emoray.errors import EmorayError
from emoray.generation import ReadFaces, ReadSeed, answered_or_failed, failed, prompt_or_failure
from emoray.notes import Notes
from emoray.request import GenerationRequest, Result
from emoray.web.settings import ServeSettings

if TYPE_CHECKING:
    from emoray.compose.decoding import PromptDecoder  # torch, which only the composer's process needs

log = logging.getLogger(__name__)

Asked = TypeVar("Asked")
Given = TypeVar("Given")


@dataclass(frozen=True)
class Loaders:
    """What each stage builds in its replica."""

    faces: Callable[[ServeSettings], ReadFaces]
    seeds: Callable[[ServeSettings], ReadSeed]
    composer: Callable[[ServeSettings], tuple[PromptDecoder, str]]
    """What composes, and the guidance mode for items that name none."""


def load_faces(settings: ServeSettings, **options: Any) -> ReadFaces:
    """The face reader; its own ``options`` are what a service has no settings for."""
    from emoray.readers.face import FaceReader

    return FaceReader(backend=settings.faces, **options).read


def load_seeds(settings: ServeSettings) -> ReadSeed:
    """The reader of MIDI and recordings, which hears durations as the checkpoint's network does."""
    from emoray.model.preset import sounds
    from emoray.readers.seed import read_seed

    limits, sounding = Limits(), sounds(settings.checkpoint)
    return lambda item: read_seed(item.seed, subject=item.seed_name, limits=limits, sounding=sounding)


def load_composer(settings: ServeSettings) -> tuple[PromptDecoder, str]:
    """The network with its checkpoint."""
    import torch

    from emoray.compose.decoding import BatchDecoder
    from emoray.model.checkpoint import load_checkpoint

    torch.set_num_threads(settings.threads)
    checkpoint = load_checkpoint(settings.checkpoint)
    return BatchDecoder(checkpoint), settings.guidance or checkpoint.guidance


LOADERS = Loaders(load_faces, load_seeds, load_composer)


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


Many = Callable[[Sequence[Asked]], Awaitable[list[Given]]]


async def answer_together(
    items: Sequence[GenerationRequest],
    *,
    read_faces: Many[bytes, Evidence | Exception],
    read_seeds: Many[GenerationRequest, Notes | Exception],
    compose: Many[Prompt, Notes | Exception],
    guidance: str,
) -> list[Result | Exception]:
    """Answer items: their pictures and their seeds at the same time, then the network.

    The same steps as ``generate_results``, with stages that may live in other processes. An item's mistake is
    its failed result, a bug that it brings out is the exception.

    Raises:
        Exception: a stage is gone.
    """
    pictures = [item.picture for item in items if item.picture is not None]
    seen, seeds = await asyncio.gather(
        _each(read_faces, pictures), _each(read_seeds, [replace(item, picture=None) for item in items])
    )
    faces = iter(seen)
    evidence = [None if item.picture is None else next(faces) for item in items]
    asked = [
        _asked(item, seed, face, guidance) for item, seed, face in zip(items, seeds, evidence, strict=True)
    ]
    composed = iter(await _each(compose, [request for request in asked if isinstance(request, Prompt)]))
    return await asyncio.to_thread(
        lambda: [
            _result(item, request, face, next(composed)) if isinstance(request, Prompt) else request
            for item, request, face in zip(items, asked, evidence, strict=True)
        ]
    )


def in_pieces(stage: Many[Asked, Given], size: int) -> Many[Asked, Given]:
    """The stage, asked for a few at a time: several calls go to whichever replicas have least to do."""

    async def ask(asked: Sequence[Asked]) -> list[Given]:
        pieces = [asked[first : first + size] for first in range(0, len(asked), size)]
        answers = await asyncio.gather(*(stage(piece) for piece in pieces))
        return [answer for given in answers for answer in given]

    return ask


async def _each(stage: Many[Asked, Given], asked: Sequence[Asked]) -> list[Given]:
    return await stage(asked) if asked else []


def _asked(
    item: GenerationRequest, seed: Notes | Exception, evidence: Evidence | Exception | None, guidance: str
) -> Prompt | Result | Exception:
    """What to compose for an item, its failed result, or the bug that it brought out."""
    if isinstance(evidence, Exception):
        return failed(item, evidence) if isinstance(evidence, EmorayError) else evidence
    if isinstance(seed, Exception) and not isinstance(seed, EmorayError):
        return seed
    return prompt_or_failure(item, seed, evidence, guidance=guidance)


def _result(
    item: GenerationRequest,
    request: Prompt,
    evidence: Evidence | Exception | None,
    composed: Notes | Exception,
) -> Result | Exception:
    assert not isinstance(evidence, Exception), "then there is nothing to compose"
    if isinstance(composed, Exception) and not isinstance(composed, EmorayError):
        return composed
    return answered_or_failed(item, request, composed, evidence)
