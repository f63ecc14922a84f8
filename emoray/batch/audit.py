"""Audit: how far a batch is, what came out of it, and whether the folder still holds what its ledger says.

Reads only, so it may run while a driver is at work; what that driver has not committed yet is not wrong.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from emoray.batch import ledger
from emoray.batch.folder import Run
from emoray.batch.ledger import Layout, StoredRow
from emoray.batch.publish import is_running, scratch_files
from emoray.batch.stored_manifest import request_ids
from emoray.storage import StoragePath, concurrent_map, storage_path

_DETAILS = re.compile(r"\([^)]*\)|\d+")


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a batch is."""

    rows: int
    ok: int
    errors: tuple[str, ...]
    """Why each failed row failed, in the order of the manifest."""
    running: bool | None
    """A driver is at work; None on an object store, where nobody can tell."""

    @property
    def failed(self) -> int:
        """Rows that failed."""
        return len(self.errors)

    @property
    def done(self) -> int:
        """Rows with a result."""
        return self.ok + self.failed

    @property
    def complete(self) -> bool:
        """Whether every row has its result."""
        return self.done == self.rows

    @property
    def reasons(self) -> dict[str, int]:
        """Why rows failed, the most frequent reason first."""
        return reasons_of(self.errors)


class _Part(NamedTuple):
    """What a part of the ledger says."""

    file: tuple[int, int]
    """Which file it was."""
    ok: int
    errors: tuple[str, ...]


class Watch:
    """Looks at a batch again and again; a part of its ledger is read when it is new, and not again."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._parts: dict[int, _Part] = {}

    def look(self) -> Status:
        """How far the batch is now."""
        running = is_running(self._layout.out)  # first: what its driver commits meanwhile is seen below
        there = ledger.part_files(self._layout)
        known = {number: part for number, part in self._parts.items() if part.file == there.get(number)}
        new = [number for number in there if number not in known]
        known.update(
            zip(new, concurrent_map(lambda number: self._part(number, there[number]), new), strict=True)
        )
        self._parts = dict(sorted(known.items()))
        parts = self._parts.values()
        return Status(
            rows=self._layout.rows,
            ok=sum(part.ok for part in parts),
            errors=tuple(error for part in parts for error in part.errors),
            running=running,
        )

    def _part(self, number: int, file: tuple[int, int]) -> _Part:
        table = ledger.read_table(self._layout, number, ["row", "status", "error"])
        if table is None:
            return _Part(file, 0, ())
        errors = table.filter(pc.not_equal(table["status"], "ok"))["error"].to_pylist()
        return _Part(file, len(table) - len(errors), tuple(error or "" for error in errors))


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What is wrong in a batch folder; every list is empty when nothing is.

    Resume the batch for what is ``missing``, ``damaged`` or ``pending``; delete what is ``corrupt`` first.
    ``stray`` and ``temporary`` files may be deleted.
    """

    missing: list[str]
    """Music in the ledger, but not on the disk."""
    corrupt: list[str]
    """Music whose bytes are not those of the ledger."""
    stray: list[str]
    """Files in the music folder that no row accounts for."""
    duplicate: list[str]
    """Music that two rows claim."""
    temporary: list[str]
    """Scratch files of an interrupted run; the next run sweeps them."""
    damaged: list[str]
    """Parts of the ledger that cannot be read."""
    pending: int
    """Rows without a result."""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return self == Verification(
            missing=[], corrupt=[], stray=[], duplicate=[], temporary=[], damaged=[], pending=0
        )


def watch(out: str | Path | StoragePath) -> Watch:
    """What looks at the batch in ``out``.

    Raises:
        BatchError: it is not a batch folder.
    """
    return Watch(_layout(out))


def status(out: str | Path | StoragePath) -> Status:
    """How far the batch in ``out`` is.

    Raises:
        BatchError: it is not a batch folder.
    """
    return watch(out).look()


def status_of(layout: Layout) -> Status:
    """How far a batch is."""
    return Watch(layout).look()


def results(out: str | Path | StoragePath) -> Iterator[StoredRow]:
    """The results rows of the batch in ``out``, in the order of the manifest.

    Raises:
        BatchError: it is not a batch folder.
    """
    return ledger.results(_layout(out))


def verify(out: str | Path | StoragePath) -> Verification:
    """Compare the batch folder with its ledger, every file of music by its sha256.

    Raises:
        BatchError: it is not a batch folder.
    """
    layout = _layout(out)
    parts = dict(ledger.parts(layout, ["row", "midi", "sha256"]))
    undone = [number for number, table in parts.items() if table is None]
    claims = ledger.claimed(table for table in parts.values() if table)
    there = ledger.music_files(layout.out)
    coming = pa.array([ledger.music_path(name) for name in request_ids(layout, undone)], pa.string())
    paths = claims["midi"]
    times = pc.value_counts(paths)
    return Verification(
        missing=_without(paths, there),
        corrupt=_corrupt(layout.out, claims.filter(pc.is_in(paths, there))),
        stray=_without(there, pa.concat_arrays([*paths.chunks, coming])),
        duplicate=sorted(times.filter(pc.greater(times.field("counts"), 1)).field("values").to_pylist()),
        temporary=scratch_files(layout.out),
        damaged=[layout.part(number).name for number in undone if layout.part(number).exists()],
        pending=sum(len(layout.rows_of(number)) for number in undone),
    )


def _layout(out: str | Path | StoragePath) -> Layout:
    folder = storage_path(out)
    return Run.load(folder).layout(folder)


def _without(paths: pa.ChunkedArray, others: pa.Array) -> list[str]:
    return sorted(pc.unique(paths.filter(pc.invert(pc.is_in(paths, others)))).to_pylist())


def _corrupt(out: StoragePath, claims: pa.Table) -> list[str]:
    """The music whose bytes have another hash than the ledger says."""

    def problem(claim: dict[str, str]) -> str | None:
        try:
            data = (out / claim["midi"]).read_bytes()
        except OSError:
            return claim["midi"]
        return None if hashlib.sha256(data).hexdigest() == claim["sha256"] else claim["midi"]

    rows = (row for batch in claims.to_batches(4096) for row in batch.to_pylist())
    return sorted(path for path in concurrent_map(problem, rows) if path is not None)


def reasons_of(errors: Sequence[str]) -> dict[str, int]:
    """How many rows share a reason, the most frequent first; the first row's own words stand for all.

    Subject, figures and what is in brackets differ from row to row and do not count.

    >>> reasons_of(["seed a.mid: has 20 bytes", "seed b.mid: has 30 bytes", "id: is missing"])
    {'has 20 bytes': 2, 'is missing': 1}
    """
    texts = [error.split(": ", 1)[-1] for error in errors]
    kinds = [_DETAILS.sub("", text) for text in texts]
    words = dict(zip(reversed(kinds), reversed(texts), strict=True))
    return {words[kind]: times for kind, times in Counter(kinds).most_common()}
