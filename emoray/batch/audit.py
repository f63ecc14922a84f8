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

import pyarrow as pa
import pyarrow.compute as pc

from emoray.batch import ledger
from emoray.batch.entries import entry_ids
from emoray.batch.fence import is_driven
from emoray.batch.folder import Run
from emoray.batch.ledger import Layout, LedgerRow
from emoray.batch.publish import scratch_files
from emoray.storage import Place, place, side_by_side

_DETAILS = re.compile(r"\([^)]*\)|\d+")


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a batch is."""

    rows: int
    ok: int
    failed: int
    running: bool | None
    """A driver is at work; None on an object store, where nobody can tell."""
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


def status(out: str | Path | Place) -> Status:
    """How far the batch in ``out`` is.

    Raises:
        BatchError: it is not a batch folder.
    """
    return status_of(_layout(out))


def status_of(layout: Layout) -> Status:
    """How far a batch is."""
    done, failed = 0, list[str]()
    for _, table in ledger.parts(layout, ["row", "status", "error"]):
        if table:
            done += len(table)
            errors = table.filter(pc.not_equal(table["status"], "ok"))["error"].to_pylist()
            failed += [error or "" for error in errors]
    return Status(
        rows=layout.rows,
        ok=done - len(failed),
        failed=len(failed),
        running=is_driven(layout.out),
        reasons=reasons_of(failed),
    )


def results(out: str | Path | Place) -> Iterator[LedgerRow]:
    """The results rows of the batch in ``out``, in the order of the manifest.

    Raises:
        BatchError: it is not a batch folder.
    """
    return ledger.results(_layout(out))


def verify(out: str | Path | Place) -> Verification:
    """Compare the batch folder with its ledger, every file of music by its sha256.

    Raises:
        BatchError: it is not a batch folder.
    """
    layout = _layout(out)
    parts = dict(ledger.parts(layout, ["row", "midi", "sha256"]))
    undone = [number for number, table in parts.items() if table is None]
    claims = ledger.claimed(table for table in parts.values() if table)
    there = ledger.music_files(layout.out)
    coming = pa.array([ledger.music_path(name) for name in entry_ids(layout, undone)], pa.string())
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


def _layout(out: str | Path | Place) -> Layout:
    folder = place(out)
    return Run.load(folder).layout(folder)


def _without(paths: pa.ChunkedArray, others: pa.Array) -> list[str]:
    return sorted(pc.unique(paths.filter(pc.invert(pc.is_in(paths, others)))).to_pylist())


def _corrupt(out: Place, claims: pa.Table) -> list[str]:
    """The music whose bytes have another hash than the ledger says."""

    def problem(claim: dict[str, str]) -> str | None:
        try:
            data = (out / claim["midi"]).read_bytes()
        except OSError:
            return claim["midi"]
        return None if hashlib.sha256(data).hexdigest() == claim["sha256"] else claim["midi"]

    rows = (row for batch in claims.to_batches(4096) for row in batch.to_pylist())
    return sorted(path for path in side_by_side(problem, rows) if path is not None)


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
