"""Labels: a csv in which people said what pieces make them feel.

Conventions
-----------
Columns ``midi`` (path, relative to the csv), ``valence`` and ``arousal``, numbers whose signs count, and
optionally ``series`` (phrases of one series sound alike); others are ignored.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emoray.errors import CorpusError


@dataclass(frozen=True, kw_only=True)
class Label:
    """One labelled file; valence and arousal are -1 or +1."""

    path: Path
    valence: int
    arousal: int
    series: str = ""
    """What the phrase shares with others; without one, the phrase stands alone."""


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
    """Labels for guidance and labels for its judges: about as many in each, and no series in both.

    The largest series goes to guidance, each further one to whoever has fewer.
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
