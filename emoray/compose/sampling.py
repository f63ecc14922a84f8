"""Drawing: logits and one random number a row to a choice, the same in any batch.

Conventions
-----------
Float64, row by row: no operation mixes rows, so a row draws the same in any crowd. A temperature of 0 takes
the likeliest choice; the random number is used up all the same.

Letters: **B** rows, **K** choices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emoray.notes import Floats

Choices = NDArray[np.int64]


def chances(logits: Floats, temperature: Floats, top_p: Floats) -> Floats:
    """[B, K] chances that add up to 1, of the likeliest choices that make up ``top_p`` of each row.

    Args:
        logits: [B, K]; minus infinity is never chosen, and not all of a row may be.
        temperature: [B] > 0.
        top_p: [B] 0..1; nucleus sampling, Holtzman et al. 2020.
    """
    weights = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature[:, None])
    falling = np.sort(weights, axis=1)[:, ::-1]
    before = np.cumsum(falling, axis=1) - falling
    kept = (before < (top_p * weights.sum(axis=1))[:, None]).sum(axis=1)
    least = np.take_along_axis(falling, kept[:, None] - 1, axis=1)
    weights[weights < least] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def draw(logits: Floats, temperature: Floats, top_p: Floats, drawn: Floats) -> Choices:
    """[B] choices from [B, K] logits with one number 0..1 a row."""
    weights = chances(logits, np.where(temperature > 0, temperature, 1.0), top_p)
    return np.where(temperature > 0, chosen(weights, drawn), logits.argmax(axis=1))


def chosen(weights: Floats, drawn: Floats) -> Choices:
    """[B] choices by weights [B, K] >= 0 with one number 0..1 a row."""
    heights = np.cumsum(weights, axis=1)
    top = heights[:, -1:]
    reached = (heights <= drawn[:, None] * top).sum(axis=1)
    return np.minimum(reached, (heights < top).sum(axis=1))  # not past the last that has a chance


def within_bins(chosen: Choices, edges: Floats, drawn: Floats) -> Floats:
    """[B] seconds, evenly drawn from each row's bin; the open last bin is a tenth wide."""
    upper = np.append(edges[1:], edges[-1] * 1.1)
    return edges[chosen] + drawn * (upper[chosen] - edges[chosen])
