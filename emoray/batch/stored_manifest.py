"""Entries: the checked manifest as a batch folder keeps it.

Conventions
-----------
A file holds some shards, one row group each, so a worker that wants one shard reads little else, and
neither the driver nor a worker ever holds all of a large manifest.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import count, groupby, islice

import pyarrow as pa
import pyarrow.parquet as pq

from emoray.batch.ledger import Layout, parquet_bytes
from emoray.batch.publish import publish
from emoray.errors import BatchError
from emoray.readers.manifest import ManifestRow
from emoray.storage import StoragePath, error_text

SCHEMA = pa.schema(
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
MANIFEST = "manifest"
_ROWS_IN_FILE = 8192


def write_manifest_rows(layout: Layout, entries: Iterable[ManifestRow]) -> None:
    """Publish the checked manifest, file by file.

    Raises:
        BatchError: it cannot be written.
    """
    rows = iter(entries)
    for number in count():
        fields = [vars(entry) for entry in islice(rows, _shards_in_file(layout) * layout.shard)]
        if not fields:
            return
        table = pa.Table.from_pylist(fields, SCHEMA)
        publish({_stored(layout, number): parquet_bytes(table, row_group_size=layout.shard)})


def read_manifest_rows(layout: Layout, number: int) -> list[ManifestRow]:
    """The manifest rows of a shard.

    Raises:
        BatchError: the stored manifest is missing or damaged.
    """
    table = next(_entries(layout, [number]))
    if table["row"].to_pylist() != list(layout.rows_of(number)):
        raise BatchError(layout.out / MANIFEST, "does not fit run.json; start again in another folder")
    return [ManifestRow(**fields) for fields in table.to_pylist()]


def entry_ids(layout: Layout, shards: Iterable[int]) -> Iterator[str]:
    """The ids of the manifest rows of some shards, in order.

    Raises:
        BatchError: the stored manifest is missing or damaged.
    """
    for table in _entries(layout, shards, ["id"]):
        yield from table["id"].to_pylist()


def _entries(layout: Layout, shards: Iterable[int], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The entries of some shards, a table for those that are neighbours in a file."""
    for number, wanted in groupby(shards, lambda shard: shard // _shards_in_file(layout)):
        path = _stored(layout, number)
        groups = [shard % _shards_in_file(layout) for shard in wanted]
        try:
            with pq.ParquetFile(io.BytesIO(path.read_bytes())) as file:
                table = file.read_row_groups(groups, columns)
                assert columns or table.schema.equals(SCHEMA), "the columns of an entry"
        except (OSError, pa.ArrowException, AssertionError) as err:
            raise BatchError(
                path, f"cannot be read ({error_text(err)}); start again in another folder"
            ) from err
        yield table


def _shards_in_file(layout: Layout) -> int:
    return max(1, _ROWS_IN_FILE // layout.shard)


def _stored(layout: Layout, number: int) -> StoragePath:
    return layout.out / MANIFEST / f"part-{number:06d}.parquet"
