"""A manifest: many requests, read and checked before anything starts, none lost.

Conventions
-----------
One row, one ``GenerationRequest`` with its files not read yet, in the order of the manifest; a row that is
wrong is its ``Result``, with the reason. The columns are the fields of a request. Only what puts every row
in doubt is an error of the whole manifest (``readers/rows.py``): a misspelt column ``strenght`` would
otherwise be ignored 100,000 times. Whether a row's files are there shows when they are read.

Every row has an id, its own or one made of what it says, and no two rows share one. A made-up id never takes
one that a row brings, above or below, so a manifest is read twice: first for what it is as a whole and for
its ids, then row by row. Of each id only 8 bytes of hash are kept, and whole ids only where two hashes are
the same: a manifest of millions fits into memory.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emoray.config import Limits
from emoray.errors import RequestError, shown
from emoray.readers.files import check_inside, read_from
from emoray.readers.rows import Row, read_rows
from emoray.request import LONGEST_ID, REQUEST_OPTIONS, GenerationRequest, Result
from emoray.storage import StoragePath

COLUMNS = tuple(REQUEST_OPTIONS)


@dataclass(frozen=True)
class Manifest:
    """A manifest that can be used as a whole, and from which rows may be taken one after the other."""

    data: bytes
    name: str
    ids: Ids

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.ids.rows

    def requests(self) -> Iterator[GenerationRequest | Result]:
        """The request of each row, in order; of a row that is wrong, its result."""
        naming = Naming(self.ids)
        rows = read_rows(self.data, name=self.name, columns=COLUMNS)
        for number, row in enumerate(rows, start=1):
            yield _request(row, number, naming)


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


def read_manifest(data: bytes, *, name: str) -> list[GenerationRequest | Result]:
    """All rows of a manifest at once: see ``open_manifest`` and ``Manifest.requests``.

    Raises:
        ManifestError: the manifest as a whole cannot be used.
    """
    return list(open_manifest(data, name=name).requests())


def read_files(request: GenerationRequest, root: StoragePath, limits: Limits) -> GenerationRequest:
    """The same request with its files read.

    Args:
        request: with paths that start from ``root``.
        root: a folder that the paths may not leave.
        limits: sizes to refuse beyond.

    Raises:
        RequestError: a file is missing, too large or outside the root.
    """
    data = {}
    for column, file in request.files.items():
        most_bytes = _most_bytes(column, file.name, limits)
        data[column] = read_from(root, file.name, most_bytes=most_bytes, subject=column)
    return request.with_files(data)


def check_files(request: GenerationRequest, root: StoragePath, limits: Limits) -> None:
    """Check what can be checked of a request's files without reading them.

    Raises:
        RequestError: see ``read_files``.
    """
    for column, file in request.files.items():
        check_inside(root, file.name, most_bytes=_most_bytes(column, file.name, limits), subject=column)


def _most_bytes(column: str, name: str, limits: Limits) -> int:
    if column == "image":
        return limits.picture_bytes
    return limits.midi_bytes if Path(name).suffix.lower() in (".mid", ".midi") else limits.audio_bytes


def _given_id(row: Row) -> str:
    return str(row.cells.get("id", ""))


def _request(row: Row, number: int, naming: Naming) -> GenerationRequest | Result:
    """The row as a request, or as its result if it is wrong; the first row with an id keeps it."""
    given = _given_id(row)
    first = naming.first_with(given, number) if given else number
    name = given or naming.name(row.text)
    error = row.error
    if not error:
        try:
            request = GenerationRequest(**row.cells | {"id": row.cells.get("id", name)})
        except RequestError as err:
            error = str(err)
        else:
            if first == number:
                return request
            error = f"id {name}: is given twice, first in row {first}; give each row an id of its own"
    return Result(id=shown(name)[:LONGEST_ID], error=error)


@dataclass(frozen=True, eq=False)
class Ids:
    """The ids of a manifest, as hashes."""

    rows: int
    given: NDArray[np.uint64]
    """Of ids that rows bring, sorted."""
    twice: frozenset[int]
    """Of ids that more than one row has, or may have."""

    def is_given(self, name: str) -> bool:
        """Whether a row brings this id; once in 10^12 times also when none does, which does no harm."""
        place = int(np.searchsorted(self.given, np.uint64(_hash(name))))
        return place < len(self.given) and int(self.given[place]) == _hash(name)

    def may_be_twice(self, name: str) -> bool:
        """Whether two rows may have this id."""
        return bool(self.twice) and _hash(name) in self.twice


def gather_ids(rows: Iterable[tuple[str, str]]) -> Ids:
    """(id or nothing, what the row says) of every row."""
    given, made = array("Q"), array("Q")
    for name, text in rows:
        (given if name else made).append(_hash(name or made_up(text)))
    own = np.sort(np.array(given, np.uint64))
    everything = np.sort(np.concatenate([own, np.array(made, np.uint64)]))
    twins = everything[1:][everything[1:] == everything[:-1]]
    return Ids(len(everything), own, frozenset(twins.tolist()))


def made_up(text: str) -> str:
    """16 hex digits of what a row says."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


@dataclass
class Naming:
    """Gives out ids, row after row."""

    ids: Ids
    first: dict[str, int] = field(default_factory=dict)
    """The row that has an id, of those that may be there twice."""
    copies: Counter[str] = field(default_factory=Counter)

    def first_with(self, name: str, row: int) -> int:
        """The first row that brings this id: ``row``, or one before it."""
        return self.first.setdefault(name, row) if self.ids.may_be_twice(name) else row

    def name(self, text: str) -> str:
        """The id of a row that brings none; the second that says the same gets ``-2``, the third ``-3``."""
        name = made_up(text)
        if not self.ids.may_be_twice(name):
            return name
        while True:
            self.copies[name] += 1
            numbered = name if self.copies[name] == 1 else f"{name}-{self.copies[name]}"
            if not self.ids.is_given(numbered):
                return numbered


def _hash(name: str) -> int:
    data = name.encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
