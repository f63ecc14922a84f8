"""Bins: times and velocities as classes of a distribution, and back.

Conventions
-----------
Bins, not mixtures of densities: steps and durations of played music have a spike at chords and several humps,
which a softmax over bins represents as they are. Bins are 10 ms wide where rhythm is heard, then grow with
the time (a step of 2 s is not played to 10 ms). Bin k of times holds ``[edge k, edge k + 1)`` seconds; the
last one has no end. Velocity bins are 4 wide.

A time is sampled uniformly from its bin, so that a continued piece is on no grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emoray.notes import Floats

GRID = 0.01
"""Seconds: the narrowest bin, and the common grid of the evaluation."""
LONGEST_STEP, LONGEST_DURATION = 8.0, 20.0
"""Seconds: the last bin begins at the first edge from here on."""
VELOCITY_WIDTH = 4
VELOCITY_BINS = 128 // VELOCITY_WIDTH


def _edges(fine: float, longest: float, growth: float) -> Floats:
    """Lower edges: multiples of ``GRID``, that wide up to ``fine`` seconds, then wider by ``growth``."""
    edges = list(range(round(fine / GRID)))
    while edges[-1] * GRID < longest:
        edges.append(max(edges[-1] + 1, round(edges[-1] * growth)))
    return np.array(edges) * GRID


STEP_EDGES = _edges(0.5, LONGEST_STEP, 1.05)
DURATION_EDGES = _edges(1.0, LONGEST_DURATION, 1.03)
STEP_BINS, DURATION_BINS = len(STEP_EDGES), len(DURATION_EDGES)


def bins_of(seconds: ArrayLike, edges: Floats) -> NDArray[np.int64]:
    """[...] seconds to the number of their bin; what lies before the first edge is in bin 0."""
    nudged = np.asarray(seconds, np.float64) + 1e-9  # .29 / .01 is 28.999...
    return np.maximum(np.searchsorted(edges, nudged, side="right") - 1, 0)


def within_bins(chosen: NDArray[np.int64], edges: Floats, uniform: Floats) -> Floats:
    """[B] seconds, ``uniform`` [B] (0..1) of the way from each bin's lower to its upper edge.

    The last bin, which has no end, is taken to be a tenth of its lower edge wide.

    >>> within_bins(np.array([3]), STEP_EDGES, np.array([0.5])).round(4).tolist()
    [0.035]
    """
    upper = np.append(edges[1:], edges[-1] * 1.1)
    return edges[chosen] + uniform * (upper[chosen] - edges[chosen])


def velocity_bins(velocity: ArrayLike) -> NDArray[np.int64]:
    """[...] velocities 1..127 to 0..31."""
    return np.asarray(velocity).astype(np.int64) // VELOCITY_WIDTH
