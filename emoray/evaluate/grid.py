"""Grid: the common ground on which all models of times are compared.

Conventions
-----------
A time is one of 1,001 classes: cells of 10 ms up to 10 s, and one for all that is longer. A model's chance of
a class is what its own distribution gives to that class, and over all classes it adds up to 1: a bin spreads
its chance evenly over the classes it covers (the open last bin over all from its edge on), a density is
integrated over each cell, with what lies below 0 in the first.

Letters: **N** notes, **K** bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoray.dataset.bins import GRID
from emoray.notes import Floats

CELLS = 1000
"""Cells of 10 ms; class ``CELLS`` is everything longer."""
CLASSES = CELLS + 1


def cells_of(seconds: NDArray[Any]) -> NDArray[np.int64]:
    """[N] seconds to classes.

    >>> cells_of(np.array([0.0, 0.0199, 0.02, 9.999, 10.0, 60.0])).tolist()
    [0, 1, 2, 999, 1000, 1000]
    """
    return np.clip(np.floor(np.asarray(seconds, np.float64) / GRID + 1e-6), 0, CELLS).astype(np.int64)


def bins_on_grid(log_chances: Floats, edges: Floats, cells: NDArray[np.int64]) -> Floats:
    """[N] logarithm of a binned model's chance of each class.

    Args:
        log_chances: [N, K] of the model's bins.
        edges: [K] lower edges in seconds, multiples of the grid, from 0.
        cells: [N] classes that came true.
    """
    lower = np.rint(edges / GRID).astype(np.int64)
    upper = np.append(lower[1:], max(CLASSES, lower[-1] + 1))
    covered = np.maximum(1, np.minimum(upper, CLASSES) - np.minimum(lower, CELLS))
    spread = log_chances - np.log(covered)
    bins = np.searchsorted(lower, np.minimum(cells, CELLS - 1), side="right") - 1
    within: Floats = spread[np.arange(len(cells)), bins]
    beyond = upper > CELLS  # bins with a part in the last class
    return np.where(cells < CELLS, within, np.logaddexp.reduce(spread[:, beyond], axis=1))


def normal_on_grid(mean: Floats, deviation: float, cells: NDArray[np.int64]) -> Floats:
    """[N] logarithm of a normal density's chance of each class, never less than that of 1e-12."""
    above = np.where(cells < CELLS, (cells + 1) * GRID, np.inf)
    below = np.where(cells > 0, cells * GRID, -np.inf)
    chance = _normal((above - mean) / deviation) - _normal((below - mean) / deviation)
    floor: Floats = np.log(np.maximum(chance, 1e-12))
    return floor


def table_on_grid(counts: Floats, cells: NDArray[np.int64]) -> Floats:
    """[N] logarithm of the frequency of each class in a table [1001] of counts, one added to each."""
    frequency: Floats = np.log((counts + 1) / (counts + 1).sum())
    return frequency[cells]


def _normal(deviations: Floats) -> Floats:
    """[N] the standard normal's cumulative distribution."""
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in deviations])


def added(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """The sum of each entry over all parts."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total
