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
from typing import TYPE_CHECKING, TypeVar

from emoray.answer import ReadFaces, ReadSeed, answered, failed, request_or_failure
from emoray.config import Limits, Request
from emoray.emotion import Evidence
from emoray.errors import EmorayError
from emoray.items import Item, Result
from emoray.notes import Notes
from emoray.web.settings import ServeSettings

if TYPE_CHECKING:
    from emoray.compose.sampler import Composing  # torch, which only the composer's process needs

log = logging.getLogger(__name__)

Asked = TypeVar("Asked")
Given = TypeVar("Given")


@dataclass(frozen=True)
class Loaders:
    """What each stage builds in its replica."""

    faces: Callable[[ServeSettings], ReadFaces]
    seeds: Callable[[ServeSettings], ReadSeed]
    composer: Callable[[ServeSettings], tuple[Composing, str]]
    """What composes, and the guidance mode for items that name none."""


def load_faces(settings: ServeSettings) -> ReadFaces:
    """The face reader."""
    from emoray.readers.face import FaceReader

    return FaceReader(backend=settings.faces).read


def load_seeds(settings: ServeSettings) -> ReadSeed:
    """The reader of MIDI and recordings, which hears durations as the checkpoint's network does."""
    from emoray.model.preset import sounds
    from emoray.readers.seed import read_seed

    limits, sounding = Limits(), sounds(settings.checkpoint)
    return lambda item: read_seed(item.seed, subject=item.seed_name, limits=limits, sounding=sounding)


def load_composer(settings: ServeSettings) -> tuple[Composing, str]:
    """The network with its checkpoint."""
    import torch

    from emoray.compose.sampler import Composer
    from emoray.model.checkpoint import load_checkpoint

    torch.set_num_threads(settings.threads)
    checkpoint = load_checkpoint(settings.checkpoint)
    return Composer(checkpoint), settings.guidance or checkpoint.guidance


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


async def answer_item(
    item: Item,
    *,
    read_face: Callable[[bytes], Awaitable[Evidence | Exception]],
    read_seed: Callable[[Item], Awaitable[Notes | EmorayError]],
    compose: Callable[[Request], Awaitable[Notes | Exception]],
    guidance: str,
) -> Result:
    """Answer one item: its picture and its seed at the same time, then the network.

    The same steps as ``answer_items``, with stages that may live in other processes.

    Raises:
        Exception: a bug in a stage, or a stage that is gone; never a mistake in the item.
    """
    evidence, seed = await asyncio.gather(
        _evidence(item.picture, read_face), read_seed(replace(item, picture=None))
    )
    if isinstance(evidence, EmorayError):
        return failed(item, evidence)
    request = request_or_failure(item, seed, evidence, guidance=guidance)
    if isinstance(request, Result):
        return request
    composed = await compose(request)
    if isinstance(composed, EmorayError):
        return failed(item, composed, evidence)
    if isinstance(composed, Exception):
        raise composed
    return await asyncio.to_thread(answered, item, request, composed, evidence)


async def _evidence(
    picture: bytes | None, read_face: Callable[[bytes], Awaitable[Evidence | Exception]]
) -> Evidence | EmorayError | None:
    evidence = None if picture is None else await read_face(picture)
    if isinstance(evidence, Exception) and not isinstance(evidence, EmorayError):
        raise evidence
    return evidence
