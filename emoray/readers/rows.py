"""Rows of a table in JSONL, CSV or Parquet, as cells by column name; a broken row is kept with its reason.

Conventions
-----------
Cells are what the format holds (CSV: text only); empty cells and nulls are left out. Blank lines are no
rows. An error of a single row stays with it; a ``ManifestError`` means that the rows cannot be told
apart, or that a column is unknown and so the meaning of every row is in doubt.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoray.errors import ManifestError, shown

_ROWS_AT_ONCE = 4096
"""Of Parquet: what is decoded together."""


@dataclass(frozen=True)
class Row:
    """One row as it was written."""

    cells: dict[str, Any]
    broken: str = ""
    """What a row without cells says instead."""
    error: str | None = None
    """Why it has no cells."""

    @property
    def text(self) -> str:
        """What the row says, the same in every format: an id-less row gets its id from it."""
        cells = {column: str(value) for column, value in self.cells.items()}
        return self.broken or json.dumps(cells, sort_keys=True)


def read_rows(data: bytes, *, name: str, columns: Collection[str]) -> Iterator[Row]:
    """Every row of the table, one after the other.

    Args:
        data: the file's bytes.
        name: the file's name; its suffix tells the format.
        columns: all that may appear.

    Raises:
        ManifestError: the table cannot be decoded, has no rows or has an unknown column.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in _FORMATS:
        raise ManifestError(name, f"is not one of {' '.join(_FORMATS)}; name it by its format")
    number = 0
    for number, row in enumerate(_FORMATS[suffix](data, name), start=1):
        if unknown := [shown(column) for column in row.cells if column not in columns]:
            reason = f"row {number} has an unknown column {', '.join(unknown)}"
            raise ManifestError(name, f"{reason}; known are {', '.join(columns)}")
        yield row
    if not number:
        raise ManifestError(name, "holds no rows; write one a picture and seed pair")


def _row(cells: dict[str, Any]) -> Row:
    return Row({column: value for column, value in cells.items() if value is not None and value != ""})


def _json_lines(data: bytes, name: str) -> Iterator[Row]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ManifestError(name, "is UTF-16; save it as UTF-8")
    for number, ended in enumerate(io.BytesIO(data), start=1):
        line = ended.removesuffix(b"\n").removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")
        if not line.strip():
            continue
        try:
            yield _row(json.loads(line.decode(), object_pairs_hook=_object))
        except UnicodeDecodeError:
            yield Row({}, line.hex(), f"line {number} is not UTF-8; save the manifest as UTF-8")
        except (ValueError, RecursionError) as err:
            reason = f"{err.msg} at column {err.colno}" if isinstance(err, json.JSONDecodeError) else err
            yield Row({}, line.hex(), f"line {number} is not a JSON object ({reason}); mend the line")
        except AttributeError:  # a number, text or list has no items
            yield Row({}, line.hex(), f"line {number} is JSON, but not an object; write {{...}}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    cells = dict(pairs)
    if len(cells) < len(pairs):
        twice = [column for column, times in Counter(column for column, _ in pairs).items() if times > 1]
        raise ValueError(f"{shown(twice[0])} is given twice")
    return cells


def _csv(data: bytes, name: str) -> Iterator[Row]:
    try:
        data.decode()  # to know the place of what is not UTF-8
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
        lines = csv.reader(text, strict=True)
        header = [column.strip() for column in next(lines, [])]
        _refuse_twins(header, name)
        for cells in lines:
            if len(cells) == len(header):
                yield _row(dict(zip(header, cells, strict=True)))
            elif cells and not header:
                raise ManifestError(name, "begins with an empty line; write the columns there")
            elif cells:
                reason = (
                    f"line {lines.line_num} has {len(cells)} cells, the header {len(header)}; mend the line"
                )
                yield Row({}, json.dumps(cells), reason)
    except UnicodeDecodeError as err:
        line = data[: err.start].count(b"\n") + 1
        raise ManifestError(name, f"line {line} is not UTF-8; save the manifest as UTF-8") from None
    except csv.Error as err:  # an open quote swallows the rows after it: none can be told apart
        raise ManifestError(name, f"line {lines.line_num} is not CSV ({err}); mend its quotes") from None


def _parquet(data: bytes, name: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        _refuse_twins(file.schema_arrow.names, name)
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            yield from map(_row, batch.to_pylist())
    except (pa.ArrowException, OSError, UnicodeDecodeError) as err:
        reason = shown(str(err).splitlines()[0] if str(err) else type(err).__name__)
        raise ManifestError(name, f"is not Parquet that can be read ({reason}); write it again") from None


def _refuse_twins(header: list[str], name: str) -> None:
    twins = [column for column, times in Counter(header).items() if times > 1]
    if twins:
        raise ManifestError(name, f"has the column {shown(twins[0])} twice; remove one")


_FORMATS: dict[str, Callable[[bytes, str], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _csv,
    ".parquet": _parquet,
}
