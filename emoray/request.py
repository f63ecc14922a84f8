"""Requests: what a user may ask for, the prompt that the network continues, and the result.

Conventions
-----------
``GenerationRequest`` is the one schema. Its fields are the options of ``emoray generate``, the form fields of
``POST /v1/generate``, the columns of a manifest and those of the manifest that a batch folder stores. To add
an option, add a field here and the code that uses it; ``REQUEST_OPTIONS`` tells everybody else its name,
type, range and help.

A request checks itself: a wrong value is a ``RequestError`` that names the field. Numbers may be written as
text, because forms and CSV have nothing else. None, or leaving a field out, means its default.

A file is a name until somebody reads it. Its bytes appear in no log and in no traceback.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)  # fmt: skip

from emoray.config import GUIDANCE_MODES
from emoray.emotion import EMOTION_WORDS, Curve, along, check_curve, parse_curve, parse_emotion
from emoray.errors import RequestError, shown
from emoray.notes import Notes
from emoray.options import Number, Whole, options_of, refusal_of

DEFAULT_NOTES = 120
"""Notes that are composed when a request names neither notes nor seconds; the original system's length."""
MOST_NOTES = 20_000
MOST_SECONDS = 3_600.0
LONGEST_ID = 128
_ID = re.compile(rf"(?!\.{{1,2}}$)[A-Za-z0-9._-]{{1,{LONGEST_ID}}}")


@dataclass(frozen=True)
class File:
    """A file of a request: its name, and its bytes once somebody has read them."""

    name: str
    """Its path, or what an error calls it."""
    data: bytes | None = field(default=None, repr=False)

    @property
    def content(self) -> bytes:
        """The bytes of a file that has been read."""
        assert self.data is not None, f"{self.name} has not been read"
        return self.data


def _as_file(value: object) -> object:
    """A path as a ``File``."""
    if isinstance(value, File):
        return value
    name = str(value) if isinstance(value, PurePath) else value
    try:
        if isinstance(name, str) and name.encode() and "\0" not in name:
            return File(name)
    except UnicodeEncodeError:  # JSON can write half of a surrogate pair
        pass
    raise ValueError(f"must be a path, got {shown(repr(value))}")


def _as_curve(value: object) -> Curve:
    """A list of points, or its JSON as a cell of text has it, as a curve."""
    return parse_curve(value if isinstance(value, str) else json.dumps(value, default=str))


def _as_id(value: object) -> str:
    text = isinstance(value, str | int) and not isinstance(value, bool)
    if not text or not _ID.fullmatch(str(value)):
        reason = f"must be 1 to {LONGEST_ID} of A-Z a-z 0-9 . _ - and neither . nor .., got"
        raise ValueError(f"{reason} {shown(value)}")
    return str(value)


FileField = Annotated[File, BeforeValidator(_as_file)]
CurveField = Annotated[Curve, BeforeValidator(_as_curve)]
GuidanceName = Literal[GUIDANCE_MODES]  # type: ignore[valid-type]  # the one list, unpacked


class GenerationRequest(BaseModel):
    """One piece of music that a user asks for.

    Raises:
        RequestError: a field is unknown or missing, or has a value that it cannot have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: Annotated[str, BeforeValidator(_as_id)] = Field(
        default="piece",
        description="Name of the request in results, logs and file names; a row without one gets one.",
        examples=["row-17"],
    )
    seed: FileField = Field(
        description="The seed music: a MIDI file, or a recording of a voice or an instrument.",
        examples=["hum.wav"],
    )
    image: FileField | None = Field(
        default=None, description="A picture of a face, whose emotion is used.", examples=["face.jpg"]
    )
    emotion: Number | None = Field(
        default=None,
        title="word or number",
        ge=-1,
        le=1,
        description=f"{', '.join(EMOTION_WORDS)}, or a valence; with an image, used if that shows none.",
        examples=["happy"],
    )
    arousal: Number | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="-1 is calm, 1 is excited; as the emotion if left out.",
        examples=[0.5],
    )
    curve: CurveField | None = Field(
        default=None,
        title="JSON",
        description="Emotion over time, instead of image and emotion: [[seconds, valence, arousal], ...];"
        " the command also takes @FILE with it.",
        examples=["[[0, -1], [30, 1, 0.5]]"],
    )
    notes: Whole | None = Field(
        default=None,
        ge=1,
        le=MOST_NOTES,
        description=f"How many notes to compose; {DEFAULT_NOTES} if seconds are left out too.",
        examples=[60],
    )
    seconds: Number | None = Field(
        default=None,
        ge=0.1,
        le=MOST_SECONDS,
        description="How many seconds to compose; with notes too, whichever ends first.",
        examples=[30],
    )
    temperature: Number | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Divides the logits: 0 takes the likeliest, more is freer; the preset's if left out.",
        examples=[0.9],
    )
    top_p: Number | None = Field(
        default=None,
        ge=0.01,
        le=1,
        description="Share of the likeliest choices that may be sampled; the preset's if left out.",
        examples=[0.95],
    )
    strength: Number = Field(
        default=1.0,
        ge=0,
        le=10,
        description="How far the emotion may pull: 0 not at all, 1 as calibrated.",
        examples=[1.5],
    )
    random_seed: Whole | None = Field(
        default=None,
        ge=0,
        le=2**63 - 1,
        description="The same number and files give the same music. If left out, it follows from the bytes of"
        " seed and image and from emotion, arousal and curve: the same pair gives the same music whichever"
        " way it comes in, and so do two equal rows of a manifest.",
        examples=[7],
    )
    guidance: GuidanceName | None = Field(
        default=None,
        description="How the emotion bends the notes; the checkpoint's mode if left out.",
        examples=["cfg"],
    )
    transpose: Whole = Field(
        default=0,
        ge=-24,
        le=24,
        description="Semitones by which the whole piece, seed and composed, is moved; a note that would leave"
        " the 88 keys of the piano moves by octaves back onto them.",
        examples=[-3],
    )
    without_seed: bool = Field(
        default=False, description="Leave the seed's notes out of the music.", examples=[True]
    )

    def __init__(self, **fields: Any) -> None:
        given = {name: value for name, value in fields.items() if value is not None}
        try:
            super().__init__(**given)
        except ValidationError as err:
            raise refusal_of(err.errors(include_url=False)[0], given, REQUEST_OPTIONS) from None

    @model_validator(mode="before")
    @classmethod
    def _emotion_in_numbers(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """The emotion's word as valence and arousal; an arousal that is given beside it counts."""
        if "seed" in fields and not {"image", "emotion", "curve"} & fields.keys():
            raise RequestError("emotion", "is missing, and so is an image; give one of them")
        if "emotion" not in fields:
            return fields
        emotion = fields["emotion"]
        valence, arousal = parse_emotion(emotion if isinstance(emotion, int | float) else shown(emotion))
        implied = {} if arousal is None else {"arousal": arousal}
        return implied | fields | {"emotion": valence + 0.0}  # -0.0 would give another random seed

    @property
    def files(self) -> dict[str, File]:
        """The files by field; there is an ``image`` only if one was given."""
        return {"seed": self.seed} | ({"image": self.image} if self.image else {})

    @property
    def size(self) -> int:
        """Bytes of the files that have been read."""
        return sum(len(file.data or b"") for file in self.files.values())

    @property
    def asked(self) -> dict[str, Any]:
        """The fields that were given."""
        return {name: getattr(self, name) for name in REQUEST_OPTIONS if name in self.model_fields_set}

    def with_files(self, data: Mapping[str, bytes]) -> GenerationRequest:
        """The same request with the bytes of its files, by field."""
        read = {name: File(file.name, data[name]) for name, file in self.files.items()}
        return self.model_copy(update=read)

    def with_defaults(self, **defaults: Any) -> GenerationRequest:
        """The same request with these values for fields that were not given."""
        left_out = {name: value for name, value in defaults.items() if name not in self.model_fields_set}
        return self.model_copy(update=left_out)

    def derived_random_seed(self) -> int:
        """The random seed of a request that names none; it follows from what the request says.

        Files count by their bytes, whatever they are called. How long, how strong and how free the music is
        to be does not count, so that people can compare such settings with the same random numbers.
        """
        files = [hashlib.sha256(file.content).hexdigest() for file in self.files.values()]
        text = json.dumps([files, self.emotion, self.arousal, self.curve])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


REQUEST_OPTIONS = options_of(GenerationRequest)
"""Every field of a request."""


def checked_options(**options: Any) -> dict[str, Any]:
    """Some options as a request would have them.

    Raises:
        RequestError: a request would refuse them.
    """
    request = GenerationRequest(**{"seed": "any", "emotion": 0} | options)
    return {name: getattr(request, name) for name in options}


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """One piece to compose, in arrays and numbers. ``seed`` must hold at least one note."""

    seed: Notes
    valence: float
    """-1 sad .. +1 happy; its sign is the label of the original system's formulas."""
    arousal: float | None = None
    """-1 calm .. +1 excited. None: as the valence, because happy is faster in the original system."""
    curve: Curve = ()
    """Emotion over time, instead of ``valence`` and ``arousal``."""
    random_seed: int = 0
    notes: int | None = None
    """How many notes to compose; with ``seconds`` also given, whichever comes first."""
    seconds: float | None = None
    """Compose until this many seconds after the seed's last onset."""
    guidance: str = "original"
    strength: float = 1.0
    """How far the emotion may pull: 0 gives the same bytes as guidance ``none``, 1 is as calibrated."""
    temperature: float | None = None
    """None: what the guidance mode prescribes. 0 takes the most likely pitch."""
    top_p: float | None = None
    """Share of the likeliest choices of each head that may be sampled; None: what the preset prescribes."""

    def __post_init__(self) -> None:
        if not len(self.seed):
            raise RequestError("seed", "holds no notes; give music with at least one note")
        values = vars(self) | {"emotion": self.valence}
        for name, option in REQUEST_OPTIONS.items():
            if option.range and values.get(name) is not None:
                option.check(values[name])
        check_curve(self.curve)

    def emotion_at(self, seconds: float) -> tuple[float, float]:
        """(valence, arousal) that many seconds after the seed's last onset."""
        if self.curve:
            return along(self.curve, seconds)
        return self.valence, self.valence if self.arousal is None else self.arousal

    @property
    def length(self) -> tuple[int, float]:
        """(most notes, most seconds) to compose: where it ends, whatever the network plays."""
        if self.notes is None and self.seconds is None:
            return DEFAULT_NOTES, math.inf
        return self.notes or MOST_NOTES, self.seconds or math.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What became of a request: music and how it came about, or the error.

    What was asked, what the picture showed and what was composed with are kept apart; they differ where a
    curve counts instead of a picture, or an emotion because the picture shows none.
    """

    id: str
    error: str | None = None
    """Subject, reason and remedy; None if there is music."""
    emotion: float | None = None
    """Asked: the valence of the request."""
    image_status: str | None = None
    """Seen: the status of the picture's evidence. None without a picture, as all that was seen."""
    image_label: int | None = None
    image_valence: float | None = None
    faces: int | None = None
    backend: str | None = None
    """The face model that answered."""
    emotion_from: str | None = None
    """Used: ``curve``, ``image`` or ``emotion``, where label, valence and arousal come from."""
    label: int | None = None
    """1 happy, -1 sad, 0 neither: the sign of the valence."""
    valence: float | None = None
    """Used; that of a curve at its beginning, like the arousal."""
    arousal: float | None = None
    random_seed: int | None = None
    """Used: the request's own, or the one that its content gives."""
    seed_notes: int | None = None
    """How many notes of the music, from its first, are the seed."""
    music: Notes | None = field(default=None, repr=False)
    """The seed's notes, unless they were to be left out, and then the composed ones."""

    @property
    def status(self) -> str:
        """``ok`` or ``failed``."""
        return "ok" if self.error is None else "failed"

    @property
    def notes(self) -> int | None:
        """How many notes were composed."""
        return None if self.music is None else len(self.music) - (self.seed_notes or 0)

    def failure(self) -> RequestError:
        """The error of a failed result, to be raised."""
        subject, _, reason = (self.error or "").partition(": ")
        return RequestError(subject, reason)
