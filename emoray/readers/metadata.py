"""Metadata of a collection: what MAESTRO's csv or json says of each file.

Conventions
-----------
MAESTRO v2 and v3 column names. The csv has one row a file; v2's json is a list of such rows, v3's maps each
column to a map of row numbers. Only ``midi_filename`` must be there; its paths are relative to the folder.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoray.errors import CorpusError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class PieceMetadata:
    """What is known of a file before it is opened."""

    composer: str | None = None
    title: str | None = None
    split: str | None = None
    """None: decided by the hash of the piece."""
    year: int | None = None


def read_metadata(path: Path) -> dict[str, PieceMetadata]:
    """File name (relative, with forward slashes) to what is known of it.

    Raises:
        CorpusError: it cannot be read, lacks ``midi_filename`` or names an unknown split.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = (
            _json_rows(json.loads(text))
            if path.suffix == ".json"
            else list(csv.DictReader(io.StringIO(text)))
        )
        return {row["midi_filename"]: _metadata(row) for row in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as err:
        reason = f"has no {err}" if isinstance(err, KeyError) else f"cannot be read ({err})"
        raise CorpusError(path, f"{reason}; give a csv or json with MAESTRO's column names") from err


def _json_rows(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, list):
        return document
    keys = document["midi_filename"]
    return [{column: values[key] for column, values in document.items()} for key in keys]


def _metadata(row: dict[str, Any]) -> PieceMetadata:
    split = row.get("split") or None
    if split is not None and split not in SPLITS:
        raise ValueError(f"unknown split {split!r}, not one of {', '.join(SPLITS)}")
    year = row.get("year")
    return PieceMetadata(
        composer=row.get("canonical_composer") or None,
        title=row.get("canonical_title") or None,
        split=split,
        year=int(year) if year not in (None, "") else None,
    )
