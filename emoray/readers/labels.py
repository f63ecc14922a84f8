"""Labels: a csv in which people said what pieces make them feel.

Conventions
-----------
Columns ``midi`` (path, relative to the csv), ``valence`` and ``arousal``, each a number whose sign counts;
others are ignored.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from emoray.errors import CorpusError


@dataclass(frozen=True, kw_only=True)
class Label:
    """One labelled file; valence and arousal are -1 or +1."""

    path: Path
    valence: int
    arousal: int


def read_labels(path: Path) -> list[Label]:
    """Read a csv of labels.

    Raises:
        CorpusError: it cannot be read, lacks a column, or a value is not a number other than 0.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        labels = [
            Label(
                path=path.parent / row["midi"],
                valence=_sign(float(row["valence"])),
                arousal=_sign(float(row["arousal"])),
            )
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as err:
        reason = f"has no column {err}" if isinstance(err, KeyError) else f"cannot be read ({err})"
        raise CorpusError(path, f"{reason}; give a csv with midi, valence and arousal") from err
    if not labels:
        raise CorpusError(path, "labels nothing; give a csv with midi, valence and arousal")
    return labels


def _sign(value: float) -> int:
    if not abs(value) > 0:  # NaN as well
        raise ValueError(f"{value} has no sign")
    return 1 if value > 0 else -1
