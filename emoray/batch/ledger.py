"""Ledger: what became of every row of a batch, in plain files and without Ray.

Conventions
-----------
A batch folder holds::

    run.json                   what is run: fingerprints, settings, versions, counts (folder.py)
    run.lock                   held by the driver (publish.py)
    fences/<number>            instead of the lock on an object store (publish.py)
    manifest/part-<number>.parquet  the checked manifest (stored_manifest.py)
    midi/<prefix>/<id>.mid     music; the prefix is the first two hex digits of the id's sha256
    results/part-<shard>.parquet   one row for each row of the shard, in order

A *shard* is a run of manifest rows that is committed together: first its music, then its part, each by
``publish``. So a part that is there vouches for its whole shard, and what is pending is what has no part:
no list of finished ids, nothing to merge, nothing that two writers append to. A shard that runs twice
publishes the same bytes under the same names: executed at least once, written exactly once.

Ray Data has a checkpoint of its own, in beta. It does not cover files that a function writes, its unit
is one write task, a resume reads all input again and starts an actor pool that wants CPUs of its own,
and a run after success appends every row once more. Counting parts does without all of that.

What grows with the manifest stays in Arrow: a row of a million is a few dozen bytes there, a thousand in
Python. Only the rows of one shard or one file at a time are Python objects.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emoray.batch.publish import RESULTS, publish
from emoray.request import Result
from emoray.storage import StoragePath, concurrent_map

_ARROW = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def arrow_schema(**columns: type) -> pa.Schema:
    """Columns by the types of their values; what Arrow has no type for is text."""
    return pa.schema([(name, _ARROW.get(kind, pa.string())) for name, kind in columns.items()])


def _result_columns() -> dict[str, type]:
    """The fields of a result, but for its music, and their types."""
    hints = get_type_hints(Result)
    kinds = {field.name: get_args(hints[field.name]) or (hints[field.name],) for field in fields(Result)}
    return {name: kind for name, (kind, *_) in kinds.items() if name != "music"} | {"notes": int}


RESULT_COLUMNS = _result_columns()
SCHEMA = arrow_schema(
    row=int,  # as well as the id, for an id may be given twice
    status=str,
    **RESULT_COLUMNS,
    midi=str,  # relative to the batch folder
    sha256=str,
    attempts=int,
    milliseconds=int,
)
MUSIC = "midi"
StoredRow = dict[str, Any]
"""One row of ``SCHEMA``: what the ledger keeps of a row of the manifest."""


@dataclass(frozen=True)
class Layout:
    """A batch folder and how its rows are cut into shards."""

    out: StoragePath
    rows: int
    shard_rows: int
    """Rows in a shard; the last one may have fewer."""

    @property
    def shards(self) -> range:
        """The numbers of all shards."""
        return range(-(-self.rows // self.shard_rows))

    def rows_of(self, number: int) -> range:
        """The manifest rows of a shard; the first row of a manifest is 1."""
        first = number * self.shard_rows + 1
        return range(first, min(first + self.shard_rows, self.rows + 1))

    def part(self, number: int) -> StoragePath:
        """Where the results of a shard are."""
        return self.out / RESULTS / f"part-{number:06d}.parquet"


def music_path(request_id: str) -> str:
    """Where the music of a request goes, relative to the batch folder."""
    prefix = hashlib.sha256(request_id.encode()).hexdigest()[:2]
    return f"{MUSIC}/{prefix}/{request_id}.mid"


def stored_row(
    row: int, result: Result, music: bytes | None, *, attempts: int, milliseconds: int
) -> StoredRow:
    """What the ledger keeps of a result and of the bytes of its music."""
    return {
        "row": row,
        "status": result.status,
        **{name: getattr(result, name) for name in RESULT_COLUMNS},
        "error": None if result.error is None else _as_text(result.error),
        "midi": None if music is None else music_path(result.id),
        "sha256": None if music is None else hashlib.sha256(music).hexdigest(),
        "attempts": attempts,
        "milliseconds": milliseconds,
    }


def _as_text(error: str) -> str:
    """An error as Arrow can hold it, whatever an unexpected exception had to say."""
    return error.encode("utf-8", "backslashreplace").decode()


def commit(layout: Layout, number: int, rows: Sequence[StoredRow], music: Mapping[str, bytes]) -> None:
    """Publish a shard: its music (by path relative to the folder), then its part.

    Raises:
        BatchError: something cannot be written; the shard stays pending.
    """
    assert [row["row"] for row in rows] == list(layout.rows_of(number)), (
        "one results row for each row of the manifest"
    )
    publish({layout.out / path: data for path, data in music.items()})
    publish({layout.part(number): parquet_bytes(pa.Table.from_pylist(list(rows), SCHEMA))})


def read_part(layout: Layout, number: int) -> list[StoredRow] | None:
    """The results of a shard; None when it has none yet, or a part that is damaged."""
    table = read_table(layout, number, SCHEMA.names)
    return None if table is None else table.to_pylist()


def parts(layout: Layout, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table | None]]:
    """Every shard with some columns of its results, or None: see ``read_part``."""
    there = set((layout.out / RESULTS).children()[0])

    def read(number: int) -> tuple[int, pa.Table | None]:
        known = layout.part(number).name in there
        return number, read_table(layout, number, columns) if known else None

    return concurrent_map(read, layout.shards)


def part_files(layout: Layout) -> dict[int, tuple[int, int]]:
    """Each part that is there, with what differs once it is replaced: see ``StoragePath.file_versions``."""
    stamps = (layout.out / RESULTS).file_versions()
    names = {number: layout.part(number).name for number in layout.shards}
    return {number: stamps[name] for number, name in names.items() if name in stamps}


def results(layout: Layout) -> Iterator[StoredRow]:
    """Every results row that is there, in the order of the manifest."""
    for _, table in parts(layout, SCHEMA.names):
        yield from table.to_pylist() if table else []


def pending(layout: Layout) -> list[int]:
    """The shards still to do: without a whole part, or with music that has gone since."""
    done = {number: table for number, table in parts(layout, ["row", "midi"]) if table}
    claims = claimed(done.values())
    lost = claims.filter(pc.invert(pc.is_in(claims["midi"], music_files(layout.out))))
    again = {(row - 1) // layout.shard_rows for row in lost["row"].to_pylist()}
    return [number for number in layout.shards if number not in done or number in again]


def failed_shards(layout: Layout) -> list[int]:
    """The shards with failed rows."""
    return [
        number
        for number, table in parts(layout, ["row", "status"])
        if table and pc.any(pc.not_equal(table["status"], "ok")).as_py()
    ]


def claimed(tables: Iterable[pa.Table]) -> pa.Table:
    """The rows of some results that have music."""
    none = pa.table({"row": pa.array([], pa.int64()), "midi": pa.array([], pa.string())})
    together = pa.concat_tables(list(tables) or [none])
    return together.filter(pc.is_valid(together["midi"])).combine_chunks()


def music_files(out: StoragePath) -> pa.Array:
    """All files under the music folder that are published, relative to the batch folder.

    Folder by folder: the listing of millions of files at once would fill the memory.
    """
    music = out / MUSIC
    astray, prefixes = music.children()
    found = [pa.array([f"{MUSIC}/{name}" for name in astray if not name.startswith(".")], pa.string())]
    for prefix, names in zip(
        prefixes, concurrent_map(lambda name: (music / name).files(), prefixes), strict=True
    ):
        published = [name for name in names if not name.rpartition("/")[2].startswith(".")]
        found.append(pa.array([f"{MUSIC}/{prefix}/{name}" for name in published], pa.string()))
    return pa.concat_arrays(found)


def read_table(layout: Layout, number: int, columns: Sequence[str]) -> pa.Table | None:
    """Some columns of the results of a shard, ``row`` among them; None as for ``read_part``."""
    try:
        with pq.ParquetFile(io.BytesIO(layout.part(number).read_bytes())) as file:
            whole = file.schema_arrow.equals(SCHEMA)
            table = file.read(list(columns)) if whole else None
    except (OSError, pa.ArrowException):
        return None
    fits = table is not None and table["row"].to_pylist() == list(layout.rows_of(number))
    return table if fits else None


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    """A table as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", **options)
    return buffer.getvalue()
