"""Items: one picture and seed pair, the request it becomes and the result it gives, without Ray.

``emoray generate``, the HTTP door and both batch engines run these same functions, so a pair sounds the
same whichever way it came in.

Conventions
-----------
An item carries bytes, not paths: whoever made it has already read its files inside their root. A label
comes from the picture; without one it comes from ``valence``. When a picture gives no label, ``valence``
is the fallback if there is one, else the item fails with the picture's reason.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from emoray.config import Prompt
from emoray.emotion import Curve, Evidence
from emoray.errors import FaceError, RequestError
from emoray.notes import Notes


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One row of a manifest, or one POST, with its files read."""

    id: str
    seed: bytes = field(repr=False)  # here and below: no log or traceback that shows an item shows its files
    """MIDI or a recording."""
    seed_name: str = "seed"
    """What to call it in an error."""
    picture: bytes | None = field(default=None, repr=False)
    picture_name: str = "image"
    valence: float | None = None
    """The emotion that was asked for; the fallback when there is a picture as well."""
    arousal: float | None = None
    """Asked for; None is as the valence."""
    curve: Curve = ()
    """Emotion over time; it counts instead of the picture and ``valence``."""
    notes: int | None = None
    seconds: float | None = None
    temperature: float | None = None
    top_p: float | None = None
    strength: float = 1.0
    random_seed: int | None = None
    """None: derived from the id."""
    guidance: str | None = None
    """None: what the checkpoint prescribes."""
    without_seed: bool = False
    """Leave the seed's notes out of the output."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of an item; ``midi`` is None exactly when the status is ``failed``."""

    id: str
    status: str
    """``ok`` or ``failed``."""
    error: str | None = None
    label: int | None = None
    valence: float | None = None
    faces: int | None = None
    image_status: str | None = None
    """The status of the picture's evidence; None without a picture."""
    seed_notes: int | None = None
    """How many notes of the output are the seed."""
    notes: int | None = None
    """How many were composed."""
    backend: str | None = None
    """The face model that answered; None without a picture."""
    midi: bytes | None = field(default=None, repr=False)


def random_seed_of(item_id: str) -> int:
    """The random seed of an item that names none: the same id, the same music, on any machine."""
    return int.from_bytes(hashlib.blake2b(item_id.encode(), digest_size=4).digest(), "big")


def valence_of(item: GenerationRequest, evidence: Evidence | None) -> float:
    """The valence to compose with: that of the curve, of the picture (its label), or the item's own.

    Raises:
        FaceError: the picture gives no label and the item has no fallback.
        RequestError: the item has neither a picture nor an emotion.
    """
    if item.curve:
        return item.curve[0][1]
    if evidence is not None and evidence.status == "ok" and evidence.label:
        return float(evidence.label)
    if item.valence is not None:
        return item.valence
    if evidence is not None:
        raise FaceError(item.picture_name, f"{evidence.reason}, or give an emotion as a fallback")
    raise RequestError(item.id, "has neither an image nor an emotion; give one of them")


def prompt_of(item: GenerationRequest, seed: Notes, evidence: Evidence | None, *, guidance: str) -> Prompt:
    """The request that an item makes once its files are read; ``guidance`` is used if it names none.

    Raises:
        FaceError, RequestError: see ``valence_of`` and ``Prompt``.
    """
    return Prompt(
        seed=seed,
        valence=valence_of(item, evidence),
        arousal=item.arousal,
        curve=item.curve,
        top_p=item.top_p,
        random_seed=random_seed_of(item.id) if item.random_seed is None else item.random_seed,
        notes=item.notes,
        seconds=item.seconds,
        guidance=item.guidance or guidance,
        strength=item.strength,
        temperature=item.temperature,
    )
