"""A manifest: many picture and seed pairs, read and checked before anything starts, none lost.

Conventions
-----------
One row, one ``ManifestRow``, in the order of the manifest; a bad row is an entry with its reason. Only what
puts every row in doubt is an error of the whole manifest (``readers/rows.py``): a misspelt column
``strenght`` would otherwise be ignored 100,000 times. Numbers may be written as text,
because CSV has nothing else.
Paths are checked by ``readers/files.py``, here and again when the row's turn comes.

A manifest is read twice: first for what it is as a whole and for its ids (``readers/ids.py``), then row by
row, so that millions of rows need no more memory than their bytes.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoray.config import GUIDANCE_MODES, RANGES, Limits
from emoray.emotion import parse_curve, parse_emotion
from emoray.errors import RequestError
from emoray.readers.files import check_inside, shown
from emoray.readers.ids import Ids, Naming, gather_ids
from emoray.readers.rows import Row, read_rows
from emoray.storage import StoragePath, storage_path

COLUMNS = (
    "id",
    "seed",
    "image",
    "emotion",
    "arousal",
    "curve",
    "notes",
    "seconds",
    "temperature",
    "top_p",
    "strength",
    "random_seed",
    "guidance",
)
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}")
_LONGEST_ID = 128
_WHOLE = ("notes", "random_seed")
_NUMBERS = ("arousal", "notes", "seconds", "temperature", "top_p", "strength", "random_seed")


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """One row of a manifest, checked."""

    row: int
    """Its place among the rows, from 1; unlike the id it is never given twice."""
    id: str
    seed: str | None = None
    """Path inside the root, like ``image``; None only in a row whose cells are wrong."""
    image: str | None = None
    valence: float | None = None
    arousal: float | None = None
    curve: str | None = None
    """JSON, checked."""
    notes: int | None = None
    seconds: float | None = None
    temperature: float | None = None
    top_p: float | None = None
    strength: float | None = None
    random_seed: int | None = None
    guidance: str | None = None
    error: str | None = None
    """Why the row cannot be answered; None when it can."""
    mendable: bool = False
    """The error is about a file on the disk, so the row gets another look when its turn comes."""

    def files(self, limits: Limits) -> dict[str, tuple[str, int]]:
        """``seed`` and ``image`` as far as given: path inside the root, and the most bytes it may have."""
        found = {}
        if self.seed is not None:
            midi = Path(self.seed).suffix.lower() in (".mid", ".midi")
            found["seed"] = (self.seed, limits.midi_bytes if midi else limits.audio_bytes)
        if self.image is not None:
            found["image"] = (self.image, limits.picture_bytes)
        return found


@dataclass(frozen=True)
class Manifest:
    """A manifest that can be used as a whole, and from which rows may be taken one after the other."""

    data: bytes
    name: str
    ids: Ids

    def entries(self, root: str | Path | StoragePath, limits: Limits | None = None) -> Iterator[ManifestRow]:
        """One entry a row, in order, with its files looked for in ``root``.

        Args:
            root: the folder that its paths start from and may not leave.
            limits: sizes to refuse beyond.
        """
        folder, naming, limits = storage_path(root), Naming(self.ids), limits or Limits()
        for number, row in enumerate(read_rows(self.data, name=self.name, columns=COLUMNS), start=1):
            yield _check_files(_with_id(_entry(number, row), row, naming), folder, limits)


def open_manifest(data: bytes, *, name: str) -> Manifest:
    """Look through a manifest for what puts every row in doubt.

    Args:
        data: the file's bytes.
        name: its name; the suffix tells the format (.jsonl .ndjson .csv .parquet).

    Raises:
        ManifestError: the manifest as a whole cannot be used.
    """
    rows = read_rows(data, name=name, columns=COLUMNS)
    ids = gather_ids((given, "" if given else row.text) for row in rows for given in [_given_id(row)])
    return Manifest(data, name, ids)


def read_manifest(
    data: bytes, *, name: str, root: str | Path | StoragePath, limits: Limits | None = None
) -> list[ManifestRow]:
    """All entries of a manifest at once: see ``open_manifest`` and ``Manifest.entries``.

    Raises:
        ManifestError: the manifest as a whole cannot be used.
    """
    return list(open_manifest(data, name=name).entries(root, limits))


def _given_id(row: Row) -> str:
    return str(row.cells.get("id", ""))


def _entry(number: int, row: Row) -> ManifestRow:
    """The row's cells as an entry; its id is still the text of the cell, empty without one."""
    name = _given_id(row)
    if row.error:
        return ManifestRow(row=number, id=name, error=row.error)
    try:
        return ManifestRow(row=number, id=name, **_cells(row.cells))
    except RequestError as err:
        return ManifestRow(row=number, id=name, error=str(err))


def _cells(cells: dict[str, Any]) -> dict[str, Any]:
    """The fields of an entry that come from its cells, without the id."""
    if "id" in cells:
        _check_id(cells["id"])
    if "seed" not in cells:
        raise RequestError("seed", "is missing; give the path of a MIDI file or a recording")
    if not {"image", "emotion", "curve"} & cells.keys():
        raise RequestError("emotion", "is missing, and so is an image; give one of them")
    valence, arousal = _emotion(cells["emotion"]) if "emotion" in cells else (None, None)
    return {
        "seed": _text("seed", cells["seed"]),
        "image": _text("image", cells["image"]) if "image" in cells else None,
        "valence": valence,
        "arousal": arousal,
        "curve": _curve(cells["curve"]) if "curve" in cells else None,
        "guidance": _guidance(cells["guidance"]) if "guidance" in cells else None,
    } | {name: _number(name, cells[name]) for name in _NUMBERS if name in cells}


def _check_id(value: object) -> None:
    text = isinstance(value, str | int) and not isinstance(value, bool)
    if not text or not _ID.fullmatch(str(value)):
        reason = f"must be 1 to {_LONGEST_ID} of A-Z a-z 0-9 . _ - and neither . nor .., got"
        raise RequestError("id", f"{reason} {shown(value)}")


def _text(name: str, value: object) -> str:
    try:
        if isinstance(value, str) and "\0" not in value and value.encode():
            return value
    except UnicodeEncodeError:  # JSON can write half of a surrogate pair
        pass
    raise RequestError(name, f"must be a path, got {shown(repr(value))}")


def _emotion(value: object) -> tuple[float, float | None]:
    return parse_emotion(value if isinstance(value, int | float) else shown(value))


def _curve(value: object) -> str:
    """A list, or its JSON as a text cell has it, as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return json.dumps(parse_curve(text))


def _guidance(value: object) -> str:
    if value not in GUIDANCE_MODES:
        raise RequestError("guidance", f"{shown(value)} is unknown; choose {', '.join(GUIDANCE_MODES)}")
    return str(value)


def _number(name: str, value: object) -> float | int:
    """A finite number in its range.

    >>> _number("notes", "40"), _number("notes", 40.0), _number("seconds", "2.5")
    (40, 40, 2.5)
    """
    low, high = RANGES[name]
    kind = "a whole number" if name in _WHOLE else "a number"
    refusal = RequestError(name.replace("_", " "), f"must be {kind} from {low} to {high}, got {shown(value)}")
    if isinstance(value, bool) or not isinstance(value, int | float | str) or "_" in str(value):
        raise refusal
    try:
        number = int(value) if isinstance(value, str) else value
    except ValueError:
        try:
            number = float(value)
        except ValueError:
            raise refusal from None
    if not (low <= number <= high and math.isfinite(number)):  # NaN fails the first half
        raise refusal
    if name not in _WHOLE:
        return float(number)
    if number != int(number):
        raise refusal
    return int(number)


def _with_id(entry: ManifestRow, row: Row, naming: Naming) -> ManifestRow:
    """The entry with an id: its own, or a hash of what the row says; an id given twice is an error.

    The first row with an id keeps it, whatever else is wrong with it.
    """
    if not entry.id:
        return dataclasses.replace(entry, id=naming.name(row.text))
    first = naming.first_with(entry.id, entry.row)
    if first != entry.row and entry.error is None:
        reason = f"is given twice, first in row {first}; give each row an id of its own"
        return ManifestRow(row=entry.row, id=entry.id, error=f"id {entry.id}: {reason}")
    return dataclasses.replace(entry, id=shown(entry.id)[:_LONGEST_ID]) if entry.error else entry


def _check_files(entry: ManifestRow, root: StoragePath, limits: Limits) -> ManifestRow:
    """The entry, with a mendable error if one of its files cannot be had."""
    if entry.error:
        return entry
    try:
        for column, (path, most_bytes) in entry.files(limits).items():
            check_inside(root, path, most_bytes=most_bytes, subject=column)
    except RequestError as err:
        return dataclasses.replace(entry, error=str(err), mendable=True)
    return entry
