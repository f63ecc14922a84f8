"""The stored manifest: the checked requests as a batch folder keeps them, and how another manifest differs.

Conventions
-----------
A row is a request, by the fields that were given, or the error of a row that is wrong. A file holds some
shards, one row group each, so a worker that wants one shard reads little else, and neither the driver nor a
worker ever holds all of a large manifest.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from itertools import count, groupby, islice, zip_longest
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emoray.batch.ledger import Layout, arrow_schema, parquet_bytes
from emoray.batch.publish import publish
from emoray.errors import BatchError
from emoray.request import REQUEST_OPTIONS, File, GenerationRequest, Result
from emoray.storage import StoragePath, error_text

CheckedRow = GenerationRequest | Result
"""Of a manifest: a request, or the result of one that is wrong."""
SCHEMA = arrow_schema(row=int, **{name: option.kind for name, option in REQUEST_OPTIONS.items()}, error=str)
MANIFEST = "manifest"
LONGEST_SHOWN = 60
"""Characters of a value."""
_ROWS_IN_FILE = 8192


def write_manifest_rows(layout: Layout, requests: Iterable[CheckedRow]) -> None:
    """Publish the checked manifest, file by file.

    Raises:
        BatchError: it cannot be written.
    """
    rows = ({"row": row} | _columns(request) for row, request in enumerate(requests, start=1))
    for number in count():
        columns = list(islice(rows, _shards_in_file(layout) * layout.shard_rows))
        if not columns:
            return
        table = pa.Table.from_pylist(columns, SCHEMA)
        publish({_stored(layout, number): parquet_bytes(table, row_group_size=layout.shard_rows)})


def read_manifest_rows(layout: Layout, number: int) -> list[CheckedRow]:
    """The manifest rows of a shard.

    Raises:
        BatchError: the stored manifest is missing or damaged.
    """
    table = next(_tables(layout, [number]))
    if table["row"].to_pylist() != list(layout.rows_of(number)):
        raise BatchError(layout.out / MANIFEST, "does not fit run.json; start again in another folder")
    return [_request(columns) for columns in table.drop_columns("row").to_pylist()]


def request_ids(layout: Layout, shards: Iterable[int]) -> Iterator[str]:
    """The ids of the manifest rows of some shards, in order.

    Raises:
        BatchError: the stored manifest is missing or damaged.
    """
    for table in _tables(layout, shards, ["id"]):
        yield from table["id"].to_pylist()


def difference(before: Iterable[CheckedRow], now: Iterable[CheckedRow]) -> str:
    """The first row in which a manifest differs from another, and how, and how many rows do.

    >>> old = [GenerationRequest(id="a", seed="a.mid", emotion="sad", notes=8)]
    >>> new = [old[0].with_defaults(notes=9), Result(id="b", error="seed: is missing")]
    >>> difference(old, old + new[1:])
    'row 2 is new; 1 row differs'
    """
    first, different = "", 0
    for row, (old, new) in enumerate(zip_longest(before, now), start=1):
        if changed := _changed(old, new):
            first, different = first or f"row {row}{changed}", different + 1
    if not first:
        return "its rows say the same in other bytes"
    return f"{first}; {different:,} {'row differs' if different == 1 else 'rows differ'}"


def _columns(row: CheckedRow) -> dict[str, Any]:
    if isinstance(row, Result):
        return {"id": row.id, "error": row.error}
    return {name: _cell(value) for name, value in row.asked.items()}


def _cell(value: object) -> object:
    if isinstance(value, File):
        return value.name
    return json.dumps(value) if isinstance(value, tuple) else value


def _request(columns: dict[str, Any]) -> CheckedRow:
    error = columns.pop("error")
    return GenerationRequest(**columns) if error is None else Result(id=columns["id"], error=error)


def _changed(old: CheckedRow | None, new: CheckedRow | None) -> str:
    if old is None or new is None:
        return f" is {'new' if old is None else 'gone'}"
    before, now = _columns(old), _columns(new)
    names = [name for name in SCHEMA.names if before.get(name) != now.get(name)]
    changes = [f"{name} {_short(before.get(name))}, now {_short(now.get(name))}" for name in names]
    return f": {'; '.join(changes)}" if changes else ""


def _short(value: object) -> str:
    text = "none" if value is None else repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _tables(layout: Layout, shards: Iterable[int], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The rows of some shards, a table for those that are neighbours in a file."""
    for number, wanted in groupby(shards, lambda shard: shard // _shards_in_file(layout)):
        path = _stored(layout, number)
        groups = [shard % _shards_in_file(layout) for shard in wanted]
        try:
            with pq.ParquetFile(io.BytesIO(path.read_bytes())) as file:
                table = file.read_row_groups(groups, columns)
                assert columns or table.schema.equals(SCHEMA), "the columns of a request"
        except (OSError, pa.ArrowException, AssertionError) as err:
            reason = f"cannot be read ({error_text(err)}); start again in another folder"
            raise BatchError(path, reason) from err
        yield table


def _shards_in_file(layout: Layout) -> int:
    return max(1, _ROWS_IN_FILE // layout.shard_rows)


def _stored(layout: Layout, number: int) -> StoragePath:
    return layout.out / MANIFEST / f"part-{number:06d}.parquet"
