"""Difference: what has changed in a manifest since its batch was begun, for the one who is refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from itertools import zip_longest
from typing import Any

from emoray.readers.manifest import ManifestRow

LONGEST = 60
"""Characters of a value."""


def difference(before: Iterable[ManifestRow], now: Iterable[ManifestRow]) -> str:
    """The first row that differs and how, and how many do.

    >>> old = [ManifestRow(row=1, id="a", notes=8)]
    >>> new = [ManifestRow(row=1, id="a", notes=9), ManifestRow(row=2, id="b")]
    >>> difference(old, new)
    'row 1: notes 8, now 9; 2 rows differ'
    >>> difference(new[:1], new)
    'row 2 is new; 1 row differs'
    """
    first, count = "", 0
    for old, new in zip_longest(before, now):
        if changed := _changed(old, new):
            first, count = first or changed, count + 1
    if not first:
        return "its rows say the same in other bytes"
    return f"{first}; {count:,} {'row differs' if count == 1 else 'rows differ'}"


def _changed(old: ManifestRow | None, new: ManifestRow | None) -> str:
    if old is None or new is None:
        row = (old or new or ManifestRow(row=0, id="")).row
        return f"row {row} is {'new' if old is None else 'gone'}"
    before, now = _told(old), _told(new)
    names = [field.name for field in fields(ManifestRow) if before[field.name] != now[field.name]]
    changes = [f"{name} {_short(before[name])}, now {_short(now[name])}" for name in names]
    return f"row {new.row}: {'; '.join(changes)}" if changes else ""


def _told(entry: ManifestRow) -> dict[str, Any]:
    """What the row says; that a file is not there says the disk."""
    told = asdict(entry)
    return told | {"error": None if entry.mendable else entry.error, "mendable": False}


def _short(value: object) -> str:
    text = "none" if value is None else repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
