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
    failed: int
    running: bool
    """A driver is at work."""
    reasons: dict[str, int]
    """Why rows failed, the most frequent reason first."""

    @property
    def done(self) -> int:
        """Rows with a result."""
        return self.ok + self.failed

    @property
    def complete(self) -> bool:
        """Whether every row has its result."""
        return self.done == self.rows


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


def status(out: Path) -> Status:
    """How far the batch in ``out`` is.

    Raises:
        BatchError: it is not a batch folder.
    """
    return status_of(Run.load(out).layout(out))


def status_of(layout: Layout) -> Status:
    """How far a batch is."""
    rows = list(ledger.results(layout))
    failed = [row["error"] or "" for row in rows if row["status"] != "ok"]
    return Status(
        rows=layout.rows,
        ok=len(rows) - len(failed),
        failed=len(failed),
        running=is_driven(layout.out),
        reasons=reasons_of(failed),
    )


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
