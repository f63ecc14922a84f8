"""Ledger: what became of every row of a batch, in plain files and without Ray.

Conventions
-----------
A batch folder holds::

    run.json                   what is run: fingerprints, settings, versions, counts (folder.py)
    run.lock                   held by the driver
    manifest.parquet           the checked entries, one row group a grain
    midi/<shard>/<id>.mid      music; the shard is the first two hex digits of the id's sha256
    results/part-<grain>.parquet   one results row for each entry of the grain, in order

A *grain* is a run of manifest rows that is committed together: first its music, then its part, each by
``publish``. So a part that is there vouches for its whole grain, and what is pending is what has no part:
no list of finished ids, nothing to merge, nothing that two writers append to. A grain that runs twice
publishes the same bytes under the same names: executed at least once, written exactly once.

Ray Data has a checkpoint of its own, in beta. It does not cover files that a function writes, its grain
is one write task, a resume reads all input again and starts an actor pool that wants CPUs of its own,
and a run after success appends every row once more. Counting parts does without all of that.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emoray.batch.publish import publish
from emoray.errors import BatchError
from emoray.readers.manifest import Entry

SCHEMA = pa.schema(
    [
        ("row", pa.int64()),  # as well as the id, for an id may be given twice
        ("id", pa.string()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("label", pa.int8()),
        ("valence", pa.float64()),
        ("faces", pa.int32()),
        ("image_status", pa.string()),
        ("seed_notes", pa.int32()),
        ("notes", pa.int32()),
        ("midi", pa.string()),  # relative to the batch folder
        ("sha256", pa.string()),
        ("attempts", pa.int32()),
        ("milliseconds", pa.int64()),
        ("backend", pa.string()),
    ]
)
ENTRIES = pa.schema(
    [
        ("row", pa.int64()),
        ("id", pa.string()),
        ("seed", pa.string()),
        ("image", pa.string()),
        ("valence", pa.float64()),
        ("arousal", pa.float64()),
        ("curve", pa.string()),
        ("notes", pa.int64()),
        ("seconds", pa.float64()),
        ("temperature", pa.float64()),
        ("top_p", pa.float64()),
        ("strength", pa.float64()),
        ("random_seed", pa.int64()),
        ("guidance", pa.string()),
        ("error", pa.string()),
        ("mendable", pa.bool_()),
    ]
)
MANIFEST, MUSIC, RESULTS = "manifest.parquet", "midi", "results"
LedgerRow = dict[str, Any]
"""One row of ``SCHEMA``."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """A batch folder and how its rows are cut into grains."""

    out: Path
    rows: int
    grain: int
    """Rows in a grain; the last one may have fewer."""

    @property
    def grains(self) -> range:
        """The numbers of all grains."""
        return range(-(-self.rows // self.grain))

    def rows_of(self, number: int) -> range:
        """The manifest rows of a grain; the first row of a manifest is 1."""
        first = number * self.grain + 1
        return range(first, min(first + self.grain, self.rows + 1))

    def part(self, number: int) -> Path:
        """Where the results of a grain are."""
        return self.out / RESULTS / f"part-{number:06d}.parquet"


def music_path(item_id: str) -> str:
    """Where the music of an item goes, relative to the batch folder."""
    shard = hashlib.sha256(item_id.encode()).hexdigest()[:2]
    return f"{MUSIC}/{shard}/{item_id}.mid"


def write_entries(layout: Layout, entries: Sequence[Entry]) -> None:
    """Publish the checked manifest.

    Raises:
        BatchError: it cannot be written.
    """
    table = pa.Table.from_pylist([vars(entry) for entry in entries], ENTRIES)
    publish({layout.out / MANIFEST: _parquet(table, row_group_size=layout.grain)})


def read_entries(layout: Layout, number: int) -> list[Entry]:
    """The manifest rows of a grain.

    Raises:
        BatchError: the stored manifest is missing or damaged.
    """
    path = layout.out / MANIFEST
    try:
        with pq.ParquetFile(path) as file:
            entries = [Entry(**fields) for fields in file.read_row_group(number).to_pylist()]
    except (OSError, pa.ArrowException, TypeError, ValueError) as err:
        raise BatchError(path, f"cannot be read ({err}); start again in another folder") from err
    if [entry.row for entry in entries] != list(layout.rows_of(number)):
        raise BatchError(path, "does not fit run.json; start again in another folder")
    return entries


def entry_ids(layout: Layout) -> list[str]:
    """The id of every manifest row, in order.

    Raises:
        BatchError: the stored manifest is missing or damaged.
    """
    path = layout.out / MANIFEST
    try:
        return pq.read_table(path, columns=["id"], partitioning=None)["id"].to_pylist()
    except (OSError, pa.ArrowException) as err:
        raise BatchError(path, f"cannot be read ({err}); start again in another folder") from err


def commit(layout: Layout, number: int, rows: Sequence[LedgerRow], music: Mapping[str, bytes]) -> None:
    """Publish a grain: its music (by path relative to the folder), then its part.

    Raises:
        BatchError: something cannot be written; the grain stays pending.
    """
    assert [row["row"] for row in rows] == list(layout.rows_of(number)), "one results row for each entry"
    publish({layout.out / path: data for path, data in music.items()})
    publish({layout.part(number): _parquet(pa.Table.from_pylist(list(rows), SCHEMA))})


def read_part(layout: Layout, number: int) -> list[LedgerRow] | None:
    """The results of a grain; None when it has none yet, or a part that is damaged."""
    try:
        with pq.ParquetFile(layout.part(number)) as file:
            table = file.read()
    except (OSError, pa.ArrowException):
        return None
    rows = table.to_pylist()
    whole = table.schema.equals(SCHEMA) and [row["row"] for row in rows] == list(layout.rows_of(number))
    return rows if whole else None


def part_files(layout: Layout) -> dict[int, tuple[int, int]]:
    """Each part that is there, with what differs once it is replaced: inode and time of change."""
    names = {layout.part(number).name: number for number in layout.grains}
    try:
        with os.scandir(layout.out / RESULTS) as files:
            found = [(names[file.name], file.stat()) for file in files if file.name in names]
    except OSError:  # none has been written yet
        return {}
    return {number: (about.st_ino, about.st_mtime_ns) for number, about in sorted(found)}


def results(layout: Layout) -> Iterator[LedgerRow]:
    """Every results row that is there, in the order of the manifest."""
    for number in layout.grains:
        yield from read_part(layout, number) or []


def pending(layout: Layout) -> list[int]:
    """The grains still to do: without a whole part, or with music that has gone since."""
    there = set(music_files(layout.out))
    return [number for number in layout.grains if not _is_done(layout, number, there)]


def failed_grains(layout: Layout) -> list[int]:
    """The grains with failed rows."""
    failed = {row["row"] for row in results(layout) if row["status"] != "ok"}
    return [number for number in layout.grains if not failed.isdisjoint(layout.rows_of(number))]


def _is_done(layout: Layout, number: int, there: set[str]) -> bool:
    rows = read_part(layout, number)
    return rows is not None and all(row["midi"] in there for row in rows if row["midi"])


def music_files(out: Path) -> list[str]:
    """All files under the music folder that are published, relative to the batch folder."""
    return [
        path.relative_to(out).as_posix()
        for path in (out / MUSIC).rglob("*")
        if not path.is_dir() and not path.name.startswith(".")
    ]


def _parquet(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", **options)
    return buffer.getvalue()
