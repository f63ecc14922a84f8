"""Annotations: what tables say about MIDI files, MAESTRO's metadata and people's emotion labels.

Conventions
-----------
Metadata has MAESTRO's column names, v2 and v3. The csv has one row a file; the json of v2 is a list of such
rows, the json of v3 maps each column to a map of row numbers. Only ``midi_filename``, a path relative to the
collection's folder, is required.

Labels are a csv with the columns ``midi`` (a path relative to the csv), ``valence`` and ``arousal`` (numbers
whose signs are the labels) and optionally ``series`` (phrases of one series sound alike). Other columns are
ignored.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoray.errors import CorpusError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class PieceMetadata:
    """Metadata of one file."""

    composer: str | None = None
    title: str | None = None
    split: str | None = None
    """None leaves the split to the hash of the piece."""
    year: int | None = None


def read_metadata(path: Path) -> dict[str, PieceMetadata]:
    """Read the metadata of a collection, by file name (relative, with forward slashes).

    Raises:
        CorpusError: the table cannot be read, lacks ``midi_filename`` or names an unknown split.
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


@dataclass(frozen=True, kw_only=True)
class Label:
    """The emotion label of one file; valence and arousal are -1 or +1."""

    path: Path
    valence: int
    arousal: int
    series: str = ""
    """Phrases of one series sound alike; a phrase without a series is one of its own."""


def read_labels(path: Path) -> list[Label]:
    """Read a csv of labels.

    Raises:
        CorpusError: the csv cannot be read, lacks a column, or a value is 0 or no number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        labels = [
            Label(
                path=path.parent / row["midi"],
                valence=_sign(float(row["valence"])),
                arousal=_sign(float(row["arousal"])),
                series=row.get("series") or row["midi"],
            )
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as err:
        reason = f"has no column {err}" if isinstance(err, KeyError) else f"cannot be read ({err})"
        raise CorpusError(path, f"{reason}; give a csv with midi, valence and arousal") from err
    if not labels:
        raise CorpusError(path, "labels nothing; give a csv with midi, valence and arousal")
    return labels


def halves(labels: Sequence[Label]) -> tuple[list[Label], list[Label]]:
    """Split the labels into those that guidance may use and those that judges are fitted on.

    No series is in both halves. The largest series goes to guidance; each further series goes to the half
    that has fewer labels.
    """
    sizes = Counter(label.series for label in labels)
    sides: tuple[set[str], set[str]] = set(), set()
    counts = [0, 0]
    for series, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        side = int(counts[1] < counts[0])
        sides[side].add(series)
        counts[side] += size
    guidance, judges = ([label for label in labels if label.series in side] for side in sides)
    return guidance, judges


def _sign(value: float) -> int:
    if not abs(value) > 0:  # NaN as well
        raise ValueError(f"{value} has no sign")
    return 1 if value > 0 else -1
