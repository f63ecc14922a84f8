"""Entries: the checked manifest as a batch folder keeps it.

Conventions
-----------
A file holds some grains, one row group each, so a worker that wants one grain reads little else, and
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
from emoray.readers.manifest import Entry
from emoray.storage import Place, why

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


def write_entries(layout: Layout, entries: Iterable[Entry]) -> None:
    """Publish the checked manifest, file by file.

    Raises:
        BatchError: it cannot be written.
    """
    rows = iter(entries)
    for number in count():
        fields = [vars(entry) for entry in islice(rows, _grains_in_file(layout) * layout.grain)]
        if not fields:
            return
        table = pa.Table.from_pylist(fields, SCHEMA)
        publish({_stored(layout, number): parquet_bytes(table, row_group_size=layout.grain)})


def read_entries(layout: Layout, number: int) -> list[Entry]:
    """The manifest rows of a grain.

    Raises:
        BatchError: the stored manifest is missing or damaged.
    """
    table = next(_entries(layout, [number]))
    if table["row"].to_pylist() != list(layout.rows_of(number)):
        raise BatchError(layout.out / MANIFEST, "does not fit run.json; start again in another folder")
    return [Entry(**fields) for fields in table.to_pylist()]


def entry_ids(layout: Layout, grains: Iterable[int]) -> Iterator[str]:
    """The ids of the manifest rows of some grains, in order.

    Raises:
        BatchError: the stored manifest is missing or damaged.
    """
    for table in _entries(layout, grains, ["id"]):
        yield from table["id"].to_pylist()


def _entries(layout: Layout, grains: Iterable[int], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The entries of some grains, a table for those that are neighbours in a file."""
    for number, wanted in groupby(grains, lambda grain: grain // _grains_in_file(layout)):
        path = _stored(layout, number)
        groups = [grain % _grains_in_file(layout) for grain in wanted]
        try:
            with pq.ParquetFile(io.BytesIO(path.read_bytes())) as file:
                table = file.read_row_groups(groups, columns)
                assert columns or table.schema.equals(SCHEMA), "the columns of an entry"
        except (OSError, pa.ArrowException, AssertionError) as err:
            raise BatchError(path, f"cannot be read ({why(err)}); start again in another folder") from err
        yield table


def _grains_in_file(layout: Layout) -> int:
    return max(1, _ROWS_IN_FILE // layout.grain)


def _stored(layout: Layout, number: int) -> Place:
    return layout.out / MANIFEST / f"part-{number:06d}.parquet"
