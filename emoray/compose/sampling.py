"""Sampling: from logits and one uniform random number to a choice, the same in any batch.

Conventions
-----------
Float64, row by row: no operation mixes rows, so a sequence samples the same choice in any batch. A
temperature of 0 takes the likeliest choice; the random number is used up all the same.

The repetition guard rules out pitches that would turn music into a loop. A pitch that has been struck
``LONGEST_RUN`` times in a row may not be struck again (1 in 100 windows of MAESTRO has a longer run). A
figure of up to ``LONGEST_FIGURE`` notes that has been repeated ``REPEATS`` times in a row may not go on:
accompaniments repeat, but a network that repeats itself that often never stops.

Letters: **B** sequences, **K** choices, **n** recent pitches, oldest first, -1 where there is none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emoray.notes import N_PITCHES, Floats

LONGEST_RUN = 5
LONGEST_FIGURE = 12
REPEATS = 4
RECENT = LONGEST_FIGURE * REPEATS
"""Pitches that the repetition guard and pitch guidance look back on."""

_TIMES = np.array([LONGEST_RUN, *[REPEATS] * (LONGEST_FIGURE - 1)])
_PERIOD, _PLACE = np.mgrid[1 : LONGEST_FIGURE + 1, :RECENT]
_COMPARED = RECENT - (_TIMES[:, None] - 1) * _PERIOD <= _PLACE
"""[periods, n] places that have to be as they were a period before."""
_FIRST = RECENT - _TIMES * np.arange(1, LONGEST_FIGURE + 1)
"""[periods] where a figure of each period would have begun."""
_BEFORE = np.maximum(_PLACE - _PERIOD, 0)


def sample(logits: Floats, temperature: Floats, top_p: Floats, uniform: Floats) -> NDArray[np.int64]:
    """[B] choices from [B, K] logits with one uniform random number 0..1 a sequence."""
    weights = probabilities(logits, np.where(temperature > 0, temperature, 1.0), top_p)
    return np.where(temperature > 0, choose(weights, uniform), logits.argmax(axis=1))


def probabilities(logits: Floats, temperature: Floats, top_p: Floats) -> Floats:
    """[B, K] probabilities of the likeliest choices that make up ``top_p`` of each row (its nucleus).

    Args:
        logits: [B, K]; minus infinity is never chosen, and not all of a row may be.
        temperature: [B] > 0 divides the logits.
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


def choose(weights: Floats, uniform: Floats) -> NDArray[np.int64]:
    """[B] choices by weights [B, K] >= 0: where the cumulative weight passes a uniform random number 0..1."""
    heights = np.cumsum(weights, axis=1)
    top = heights[:, -1:]
    passed = (heights <= uniform[:, None] * top).sum(axis=1)
    return np.minimum(passed, (heights < top).sum(axis=1))  # not past the last that has a probability


def repetition_guard(recent: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[B, n] recent pitches to the pitches [B, 128] that would go on with a loop; n is ``RECENT``."""
    banned = np.zeros((len(recent), N_PITCHES), np.bool_)
    alike = (recent[:, None, :] == recent[:, _BEFORE]) | ~_COMPARED
    rows, periods = np.nonzero(alike.all(axis=2) & (recent[:, _FIRST] >= 0))
    banned[rows, recent[rows, RECENT - 1 - periods]] = True
    return banned


def log_probabilities(logits: Floats) -> Floats:
    """[B, K] logits to the natural logarithm of each choice's probability."""
    top = logits - logits.max(axis=1, keepdims=True)
    result: Floats = top - np.log(np.exp(top).sum(axis=1, keepdims=True))
    return result


def kl_divergence(log_p: Floats, log_q: Floats) -> Floats:
    """[B] Kullback-Leibler divergence of p from q in nats, from log-probabilities [B, K]."""
    p = np.exp(log_p)
    apart = np.where(p > 0, log_p, 0) - np.where(p > 0, log_q, 0)
    total: Floats = (p * apart).sum(axis=1)
    return total
