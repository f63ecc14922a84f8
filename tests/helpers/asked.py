"""What tests ask for: requests with their files read, and music that tells which bytes it is made of."""

from __future__ import annotations

from typing import Any

from emoray.notes import Notes, as_notes
from emoray.request import File, GenerationRequest


def request(name: str, seed: bytes = b"x", image: bytes | None = None, **fields: Any) -> GenerationRequest:
    """A request for a happy piece, unless it has an image or another emotion."""
    emotion: dict[str, Any] = {"emotion": 1.0} if image is None else {"image": File("image", image)}
    return GenerationRequest(**{"id": name, "seed": File("seed", seed)} | emotion | fields)


def music_of(data: bytes) -> Notes:
    """A note for each byte, which is its pitch."""
    return as_notes(range(len(data)), [1.0] * len(data), [*data], [80] * len(data))
