"""Generation: requests in, as many results out, in order: read, recognise, compose, write.

Conventions
-----------
The readers and the decoder arrive as arguments: a worker builds its own once, a test passes fakes. The
Python API, Serve's replicas and Ray Data's workers run these same functions, so a pair of seed and picture
sounds the same whichever way it comes in.

An error of a request is a value on its way down: it takes the place of the notes, the prompt or the music,
and becomes the request's result. It harms no neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from emoray.emotion import Evidence
from emoray.errors import EmorayError, FaceError, RequestError
from emoray.notes import Notes, transposed
from emoray.request import File, GenerationRequest, Prompt, Result
from emoray.writers.midi import midi_bytes

ReadSeed = Callable[[File], Notes]
ReadFaces = Callable[[Sequence[bytes]], list[Evidence]]
Compose = Callable[[Sequence[Prompt]], list[Notes]]


def generate_results(
    requests: Sequence[GenerationRequest],
    *,
    read_seed: ReadSeed,
    read_faces: ReadFaces,
    compose: Compose,
    guidance: str,
) -> list[Result]:
    """The result of each request.

    Args:
        requests: with their files read.
        read_seed: a file to notes.
        read_faces: pictures to what they show, all in one call.
        compose: prompts to composed notes, all in one call.
        guidance: the mode of requests that name none.
    """
    seeds = [read(request.seed, read_seed) for request in requests]
    evidence = recognise(requests, read_faces)
    prompts = [
        prompt_of(request, seed, seen, guidance=guidance)
        for request, seed, seen in zip(requests, seeds, evidence, strict=True)
    ]
    composed = compose_each(prompts, compose)
    return [
        result_of(request, prompt, notes, seen)
        for request, prompt, notes, seen in zip(requests, prompts, composed, evidence, strict=True)
    ]


def read(seed: File, read_seed: ReadSeed) -> Notes | EmorayError:
    """The seed's notes."""
    try:
        return read_seed(seed)
    except EmorayError as err:
        return err


def recognise(requests: Sequence[GenerationRequest], read_faces: ReadFaces) -> list[Evidence | None]:
    """What each request's picture shows; None for a request without one."""
    pictures = [request.image.content for request in requests if request.image is not None]
    seen = iter(read_faces(pictures) if pictures else [])
    return [None if request.image is None else next(seen) for request in requests]


def prompt_of(
    request: GenerationRequest, seed: Notes | EmorayError, evidence: Evidence | None, *, guidance: str
) -> Prompt | EmorayError:
    """What to compose; ``guidance`` is used by a request that names none."""
    if isinstance(seed, EmorayError):
        return seed
    try:
        valence, _ = used_emotion(request, evidence)
        return Prompt(
            seed=seed,
            valence=valence,
            arousal=request.arousal,
            curve=request.curve or (),
            random_seed=request.derived_random_seed() if request.random_seed is None else request.random_seed,
            notes=request.notes,
            seconds=request.seconds,
            guidance=request.guidance or guidance,
            strength=request.strength,
            temperature=request.temperature,
            top_p=request.top_p,
        )
    except EmorayError as err:
        return err


def used_emotion(request: GenerationRequest, evidence: Evidence | None) -> tuple[float, str]:
    """The valence to compose with, and which field it is from: ``curve``, ``image`` or ``emotion``.

    Raises:
        FaceError: the picture gives no label, and there is no emotion to fall back on.
    """
    if request.curve:
        return request.curve[0][1], "curve"
    if evidence is not None and evidence.status == "ok" and evidence.label:
        return float(evidence.label), "image"
    if request.emotion is not None:
        return request.emotion, "emotion"
    assert evidence is not None, "a request has an image, an emotion or a curve"
    assert request.image is not None
    raise FaceError(request.image.name, f"{evidence.reason}, or give an emotion as a fallback")


def compose_each(prompts: Sequence[Prompt | EmorayError], compose: Compose) -> list[Notes | EmorayError]:
    """The notes of each prompt, in one call; a prompt that the checkpoint refuses is composed by nobody."""

    def alone(prompt: Prompt) -> Notes | EmorayError:
        try:
            return compose([prompt])[0]
        except EmorayError as err:
            return err

    composed: Iterator[Notes | EmorayError]
    good = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
    try:
        composed = iter(compose(good) if good else [])
    except EmorayError:  # the decoder refuses before it composes, so nothing is done twice
        composed = iter([alone(prompt) for prompt in good])
    return [next(composed) if isinstance(prompt, Prompt) else prompt for prompt in prompts]


def result_of(
    request: GenerationRequest,
    prompt: Prompt | EmorayError,
    composed: Notes | EmorayError,
    evidence: Evidence | None,
) -> Result:
    """What a request asked for, what its picture showed, and what was composed; or its error."""
    asked_and_seen: dict[str, Any] = {"id": request.id, "emotion": request.emotion, **_seen(evidence)}
    if isinstance(prompt, EmorayError) or isinstance(composed, EmorayError):
        return Result(error=str(prompt if isinstance(prompt, EmorayError) else composed), **asked_and_seen)
    valence, arousal = prompt.emotion_at(0.0)
    parts = [composed] if request.without_seed else [prompt.seed, composed]
    return Result(
        **asked_and_seen,
        emotion_from=used_emotion(request, evidence)[1],
        label=(valence > 0) - (valence < 0),
        valence=valence,
        arousal=arousal,
        random_seed=prompt.random_seed,
        seed_notes=0 if request.without_seed else len(prompt.seed),
        music=np.concatenate([transposed(notes, request.transpose) for notes in parts]),
    )


def failed(request: GenerationRequest, error: EmorayError) -> Result:
    """The result of a request that got no further."""
    return Result(id=request.id, error=str(error), emotion=request.emotion)


def broken(request_id: str, what: str) -> Result:
    """The result of a request that brought out a bug."""
    error = RequestError(request_id, f"unexpected {what}; a bug, the log has its traceback")
    return Result(id=request_id, error=str(error))


def write(result: Result) -> bytes | None:
    """The music as the bytes of a MIDI file; None of a failed result."""
    return None if result.music is None else midi_bytes(result.music)


def _seen(evidence: Evidence | None) -> dict[str, Any]:
    if evidence is None:
        return {}
    return {
        "image_status": evidence.status,
        "image_label": evidence.label,
        "image_valence": evidence.valence,
        "faces": evidence.faces,
        "backend": evidence.backend or None,
    }
