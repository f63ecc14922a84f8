"""Answer: items in, as many results out, in order; a bad item is a failed result and harms no neighbour.

The readers and the composer arrive as arguments: a worker builds its own once, a test passes fakes.
``prompt_or_failure`` and ``answered`` are the two halves around the network, so that a server can run
its stages in processes of their own and still give the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from emoray.config import Prompt
from emoray.emotion import Evidence
from emoray.errors import EmorayError
from emoray.notes import Notes
from emoray.request import GenerationRequest, Result, prompt_of
from emoray.writers.midi import midi_bytes

ReadFaces = Callable[[Sequence[bytes]], list[Evidence]]
ReadSeed = Callable[[GenerationRequest], Notes]
Compose = Callable[[Sequence[Prompt]], list[Notes]]


def generate_results(
    items: Sequence[GenerationRequest],
    *,
    read_faces: ReadFaces,
    read_seed: ReadSeed,
    compose: Compose,
    guidance: str,
) -> list[Result]:
    """Answer items together: faces in one batch, seeds one by one, notes in one batch."""
    evidence = evidence_of(items, read_faces)
    asked = [
        prompt_or_failure(item, seed_or_error(item, read_seed), seen, guidance=guidance)
        for item, seen in zip(items, evidence, strict=True)
    ]
    composed = iter(composed_or_error([request for request in asked if isinstance(request, Prompt)], compose))
    return [
        request if isinstance(request, Result) else answered_or_failed(item, request, next(composed), seen)
        for item, request, seen in zip(items, asked, evidence, strict=True)
    ]


def composed_or_error(requests: Sequence[Prompt], compose: Compose) -> list[Notes | EmorayError]:
    """The notes of each request, or why the checkpoint cannot make them: one refusal harms no neighbour."""

    def alone(request: Prompt) -> Notes | EmorayError:
        try:
            return compose([request])[0]
        except EmorayError as err:
            return err

    try:
        return [*compose(requests)] if requests else []
    except EmorayError:  # the composer refuses before it composes, so nothing is done twice
        return [alone(request) for request in requests]


def answered_or_failed(
    item: GenerationRequest, request: Prompt, composed: Notes | EmorayError, evidence: Evidence | None
) -> Result:
    """The result of an item whose notes are composed, or were refused."""
    if isinstance(composed, EmorayError):
        return failed(item, composed, evidence)
    return answered(item, request, composed, evidence)


def evidence_of(items: Sequence[GenerationRequest], read_faces: ReadFaces) -> list[Evidence | None]:
    """What each picture says; None for an item without one."""
    seen = iter(read_faces([item.picture for item in items if item.picture is not None]))
    return [None if item.picture is None else next(seen) for item in items]


def seed_or_error(item: GenerationRequest, read_seed: ReadSeed) -> Notes | EmorayError:
    """The seed's notes, or why there are none."""
    try:
        return read_seed(item)
    except EmorayError as err:
        return err


def prompt_or_failure(
    item: GenerationRequest, seed: Notes | EmorayError, evidence: Evidence | None, *, guidance: str
) -> Prompt | Result:
    """What to compose for an item, or its failed result."""
    try:
        if isinstance(seed, EmorayError):
            raise seed
        return prompt_of(item, seed, evidence, guidance=guidance)
    except EmorayError as err:
        return failed(item, err, evidence)


def failed(item: GenerationRequest, error: Exception, evidence: Evidence | None = None) -> Result:
    """The result of an item that could not be answered: its reason, and what was seen until then."""
    return _with_evidence(Result(id=item.id, status="failed", error=str(error)), evidence)


def broken(item: GenerationRequest, what: str) -> Result:
    """The failed result of an item that brought out a bug."""
    return failed(item, EmorayError(item.id, f"unexpected {what}; a bug, the log has its traceback"))


def answered(item: GenerationRequest, request: Prompt, composed: Notes, evidence: Evidence | None) -> Result:
    """The result of an item: its MIDI begins with the seed's notes unless it asked to leave them out."""
    music = composed if item.without_seed else np.concatenate([request.seed, composed])
    result = Result(
        id=item.id,
        status="ok",
        label=(request.valence > 0) - (request.valence < 0),
        valence=request.valence,
        seed_notes=0 if item.without_seed else len(request.seed),
        notes=len(composed),
        midi=midi_bytes(music),
    )
    return _with_evidence(result, evidence)


def _with_evidence(result: Result, evidence: Evidence | None) -> Result:
    if evidence is None:
        return result
    fell_back = result.status == "ok" and not evidence.label
    return replace(
        result,
        faces=evidence.faces,
        image_status=evidence.status,
        backend=evidence.backend or None,
        valence=result.valence if fell_back else evidence.valence,
    )
