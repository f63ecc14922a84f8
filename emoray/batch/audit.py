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

from emoray.batch import ledger
from emoray.batch.folder import Run, is_driven
from emoray.batch.ledger import Layout, LedgerRow
from emoray.batch.publish import scratch_files

_DETAILS = re.compile(r"\([^)]*\)|\d+")


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a batch is."""

    rows: int
    ok: int
    errors: tuple[str, ...]
    """Why each failed row failed, in the order of the manifest."""
    running: bool
    """A driver is at work."""

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
        running = is_driven(self._layout.out)  # first: what its driver commits meanwhile is seen below
        there = ledger.part_files(self._layout)
        self._parts = {number: self._part(number, file) for number, file in there.items()}
        parts = self._parts.values()
        return Status(
            rows=self._layout.rows,
            ok=sum(part.ok for part in parts),
            errors=tuple(error for part in parts for error in part.errors),
            running=running,
        )

    def _part(self, number: int, file: tuple[int, int]) -> _Part:
        known = self._parts.get(number)
        if known is not None and known.file == file:
            return known
        rows = ledger.read_part(self._layout, number) or []
        errors = tuple(row["error"] or "" for row in rows if row["status"] != "ok")
        return _Part(file, len(rows) - len(errors), errors)


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


def watch(out: Path) -> Watch:
    """What looks at the batch in ``out``.

    Raises:
        BatchError: it is not a batch folder.
    """
    return Watch(Run.load(out).layout(out))


def status(out: Path) -> Status:
    """How far the batch in ``out`` is.

    Raises:
        BatchError: it is not a batch folder.
    """
    return watch(out).look()


def status_of(layout: Layout) -> Status:
    """How far a batch is."""
    return Watch(layout).look()


def results(out: Path) -> Iterator[LedgerRow]:
    """The results rows of the batch in ``out``, in the order of the manifest.

    Raises:
        BatchError: it is not a batch folder.
    """
    return ledger.results(Run.load(out).layout(out))


def verify(out: Path) -> Verification:
    """Compare the batch folder with its ledger, every file of music by its sha256.

    Raises:
        BatchError: it is not a batch folder.
    """
    layout = Run.load(out).layout(out)
    parts = {number: ledger.read_part(layout, number) for number in layout.grains}
    rows = [row for part in parts.values() for row in part or [] if row["midi"]]
    claims = Counter(row["midi"] for row in rows)
    there = set(ledger.music_files(out))
    undone = [number for number, part in parts.items() if part is None]
    ids = ledger.entry_ids(layout) if undone else []
    coming = {ledger.music_path(ids[row - 1]) for number in undone for row in layout.rows_of(number)}
    return Verification(
        missing=sorted(claims.keys() - there),
        corrupt=sorted(row["midi"] for row in rows if row["midi"] in there and not _is_intact(out, row)),
        stray=sorted(there - claims.keys() - coming),
        duplicate=sorted(path for path, times in claims.items() if times > 1),
        temporary=[path.relative_to(out).as_posix() for path in scratch_files(out)],
        damaged=[layout.part(number).name for number in undone if layout.part(number).exists()],
        pending=sum(len(layout.rows_of(number)) for number in undone),
    )


def _is_intact(out: Path, row: LedgerRow) -> bool:
    try:
        return hashlib.sha256((out / row["midi"]).read_bytes()).hexdigest() == row["sha256"]
    except OSError:
        return False


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
