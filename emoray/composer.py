"""Composer: the Python API. A checkpoint that composes: a seed and an emotion in, a piece out.

Conventions
-----------
Whatever composes goes through ``emoray/generation.py``, and so does this: the command line, the gallery and
the demo are skins of ``Composer``, Serve's replicas and Ray Data's workers run the same functions. A
request's options are the fields of ``GenerationRequest`` (``emoray/request.py``), under the same names as
everywhere.

A request's music depends on its inputs, its options, its random seed and the checkpoint alone: not on what
else is composed in the same call.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from emoray.compose.decoding import BatchDecoder
from emoray.emotion import Evidence
from emoray.errors import EmorayError, RequestError
from emoray.generation import generate_results
from emoray.model.checkpoint import Checkpoint, load_checkpoint
from emoray.model.preset import checkpoint_folder
from emoray.notes import Notes
from emoray.options import Option
from emoray.piece import Piece
from emoray.readers.seed import read_seed
from emoray.recognition import Source, content, face_reader, name_of
from emoray.request import REQUEST_OPTIONS, File, GenerationRequest, Result
from emoray.storage import StoragePath
from emoray.writers.midi import midi_bytes

Seed = Source | Notes | Piece
"""Music to start from: a path, a URI, the bytes of a MIDI file or recording, a note array, or a piece."""
Asked = Seed | Mapping[str, Any]
"""A seed, or a row of a manifest: the fields of a request by name, ``seed`` among them."""
ARGUMENTS = ("seed", "id")
"""Fields of a request that are no options: the first is an argument of its own, the other is numbered."""


def load(checkpoint: str | Path | None = None, *, faces: str = "auto") -> Composer:
    """Read a checkpoint.

    Args:
        checkpoint: the folder of a checkpoint, or the name of one that ships with emoray: ``pretrained`` (the
            same as None: the expressive network) or ``baseline`` (the original system's).
        faces: the model that reads pictures: ``auto``, ``deepface`` or ``fer-mini``. It is loaded when the
            first picture is read.

    Raises:
        CheckpointError: it is not a checkpoint, or a damaged one.

    >>> load("baseline")
    Composer(baseline, guidance='original-tempered')
    """
    return Composer(load_checkpoint(checkpoint_folder(checkpoint)), faces=faces)


class Composer:
    """Composes with one checkpoint; ``load`` makes it.

    >>> from emoray.demo.pieces import pieces
    >>> composer = load("baseline")
    >>> tune = pieces()[0].notes[:20]
    >>> piece = composer.generate(tune, emotion="happy", notes=10, random_seed=7)
    >>> len(piece.notes), piece.seed_notes, piece.label
    (30, 20, 'happy')
    >>> happy, sad = composer.generate([tune, {"seed": tune, "emotion": "sad"}], emotion="happy", notes=10)
    >>> happy.label, sad.label
    ('happy', 'sad')
    """

    def __init__(self, checkpoint: Checkpoint, *, faces: str = "auto") -> None:
        self.checkpoint = checkpoint
        self._decoder = BatchDecoder(checkpoint)
        self._faces = faces

    @overload
    def generate(self, seed: Asked, *, errors: Literal["raise"] = "raise", **options: Any) -> Piece: ...

    @overload
    def generate(self, seed: Asked, *, errors: Literal["return"], **options: Any) -> Piece | EmorayError: ...

    @overload
    def generate(
        self, seed: Sequence[Asked], *, errors: Literal["raise"] = "raise", **options: Any
    ) -> list[Piece]: ...

    @overload
    def generate(
        self, seed: Sequence[Asked], *, errors: Literal["return"], **options: Any
    ) -> list[Piece | EmorayError]: ...

    def generate(
        self, seed: Asked | Sequence[Asked], *, errors: str = "raise", **options: Any
    ) -> Piece | EmorayError | list[Piece] | list[Piece | EmorayError]:
        """Compose on from a seed, or from each of a list of seeds, towards an emotion.

        Args:
            seed: a path, a URI, the bytes of a MIDI file or recording, a note array [n], or a piece to go
                on from. A mapping holds options of its own beside its ``seed``, as a row of a manifest does.
                A list of any of these gives as many pieces, which are composed together.
            errors: ``raise`` raises the first error; ``return`` puts an error in the place of its piece, and
                the others are composed.
            **options: for every seed, and overridden by those of a mapping:

        Returns:
            A piece, or a list of them in the order of the seeds.

        Raises:
            RequestError: an option is unknown or out of range, or the checkpoint cannot do what it asks.
            ConfigError: a file cannot be read.
            MidiError, AudioError: a seed holds no music.
            FaceError: a picture shows no clear emotion and there is no ``emotion`` to fall back on.
        """
        if errors not in ("raise", "return"):
            raise RequestError("errors", f"{errors!r} is unknown; choose raise or return")
        many = isinstance(seed, Sequence) and not isinstance(seed, str | bytes)
        rows: Sequence[Any] = seed if many else [seed]  # type: ignore[assignment]
        requests = [_request(row, number, options) for number, row in enumerate(rows)]
        if errors == "raise":
            _raise_first(requests)  # before anything is composed
        pieces = self._compose(requests)
        if errors == "raise":
            _raise_first(pieces)
        return pieces if many else pieces[0]

    def _compose(self, asked: Sequence[GenerationRequest | EmorayError]) -> list[Piece | EmorayError]:
        """The piece of each request; an error stays where it is."""
        requests = [request for request in asked if isinstance(request, GenerationRequest)]
        results = iter(
            generate_results(
                requests,
                read_seed=self._read_seed,
                read_faces=self._read_faces,
                compose=self._decoder.compose,
                guidance=self.checkpoint.guidance,
            )
        )
        return [
            self._piece(request, next(results)) if isinstance(request, GenerationRequest) else request
            for request in asked
        ]

    def _read_seed(self, file: File) -> Notes:
        if isinstance(file, _NoteFile):
            return file.notes
        return read_seed(file.content, subject=file.name, sounding=self.checkpoint.sounding)

    def _read_faces(self, pictures: Sequence[bytes]) -> list[Evidence]:
        return face_reader(self._faces).read(pictures)

    def _piece(self, request: GenerationRequest, result: Result) -> Piece | EmorayError:
        if result.music is None:
            return result.failure()
        return Piece(
            notes=result.music,
            seed_notes=result.seed_notes or 0,
            name=request.id,
            random_seed=result.random_seed,
            guidance=request.guidance or self.checkpoint.guidance,
            emotion_asked=result.emotion,
            emotion_seen=result.image_valence,
            emotion_used=result.valence,
            arousal_used=result.arousal,
            emotion_from=result.emotion_from,
            image_status=result.image_status,
            face_model=result.backend,
        )

    def __repr__(self) -> str:
        return f"Composer({self.checkpoint.preset_name}, guidance={self.checkpoint.guidance!r})"


@dataclass(frozen=True)
class _NoteFile(File):
    """A note array in the place of a file; its bytes are those of the MIDI file that it would make.

    The notes are used as they are, while a MIDI file rounds times to milliseconds.
    """

    notes: Any = None


def _request(row: Any, number: int, options: Mapping[str, Any]) -> GenerationRequest | EmorayError:
    """The request of one seed or row, its files read; or what is wrong with it."""
    try:
        fields = {
            "id": f"piece-{number + 1}",
            **options,
            **(row if isinstance(row, Mapping) else {"seed": row}),
        }
        files = {
            name: _file(fields[name], name) for name in ("seed", "image") if fields.get(name) is not None
        }
        return GenerationRequest(**fields | files)
    except EmorayError as err:
        return err


def _raise_first(values: Sequence[object]) -> None:
    for value in values:
        if isinstance(value, EmorayError):
            raise value


def _file(source: Any, field: str) -> File:
    """A file of a request with its bytes."""
    if isinstance(source, File):
        return source
    notes = source.notes if isinstance(source, Piece) else source
    if isinstance(notes, np.ndarray):
        return _NoteFile(field, midi_bytes(notes), notes)
    if not isinstance(source, str | bytes | Path | StoragePath):
        raise RequestError(field, f"must be a path, bytes or music, got {type(source).__name__}")
    return File(name_of(source, field), content(source))


def _taken(option: Option) -> Any:
    """The type of the values that an option takes in Python."""
    if option.kind is File:
        return Source | None
    kind = option.kind | type(option.example)
    return kind | None if option.default is None else kind


def _show_options() -> None:
    """Give ``generate`` the signature and the documentation of the options that requests have."""
    shown = [option for name, option in REQUEST_OPTIONS.items() if name not in ARGUMENTS]
    given = inspect.signature(Composer.generate)
    fixed = [kept for kept in given.parameters.values() if kept.kind is not kept.VAR_KEYWORD]
    keywords = [
        inspect.Parameter(
            option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=_taken(option)
        )
        for option in shown
    ]
    parameters = itertools.chain(fixed[:2], keywords, fixed[2:])  # self and seed, the options, errors
    Composer.generate.__signature__ = given.replace(parameters=list(parameters))  # type: ignore[attr-defined]
    lines = "".join(f"\n                {option.name}: {option.help}" for option in shown)
    mark = "overridden by those of a mapping:"
    Composer.generate.__doc__ = (Composer.generate.__doc__ or "").replace(mark, mark + lines)


_show_options()
