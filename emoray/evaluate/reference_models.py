"""Reference models: counts of the training split as models of the next note, which every network has to beat.

Conventions
-----------
The reference models of the pitch are ``uniform`` (every pitch alike), ``unigram`` (training frequencies),
``repeat_last`` (the last pitch with the training rate of repeats, else the unigram), ``bigram`` (training
frequencies after the last pitch) and ``unigram_recent`` (half unigram, half the histogram of the last 25
pitches). Of steps, durations and velocities there are ``uniform`` and ``unigram``; key-down durations and
durations with the pedal have separate counts. Counts are add-one smoothed, but for those of the bigram, to
which one count of the unigram distribution is added.

All models of times, networks included, are compared on one grid of 1,001 classes: cells of 10 ms up to 10 s,
and one class for all longer times. A model's probability of a class is what its own distribution gives to
that class. A binned model spreads the probability of a bin evenly over the classes that the bin covers (of
the open last bin, over all classes from its edge on). A density is integrated over each cell, and its mass
below 0 goes to the first.

Letters: **N** notes that are predicted, **K** bins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from emoray.dataset.bins import GRID
from emoray.notes import N_PITCHES, Floats, Notes, steps

CONTEXT_NOTES = 25
"""Notes before the first that is predicted, for every model, and pitches in the recent histogram."""
TIME_CELLS = 1000
"""Cells of 10 ms; class ``TIME_CELLS`` holds all longer times."""
TIME_CLASSES = TIME_CELLS + 1


def cells_of(seconds: NDArray[Any]) -> NDArray[np.int64]:
    """[N] seconds to time classes.

    >>> cells_of(np.array([0.0, 0.0199, 0.02, 9.999, 10.0, 60.0])).tolist()
    [0, 1, 2, 999, 1000, 1000]
    """
    return np.clip(np.floor(np.asarray(seconds, np.float64) / GRID + 1e-6), 0, TIME_CELLS).astype(np.int64)


def bins_on_grid(log_probabilities: Floats, edges: Floats, cells: NDArray[np.int64]) -> Floats:
    """[N] log probability of each class under a binned model.

    Args:
        log_probabilities: [N, K] of the model's bins.
        edges: [K] lower edges in seconds, multiples of the grid, from 0.
        cells: [N] the observed classes.
    """
    lower = np.rint(edges / GRID).astype(np.int64)
    upper = np.append(lower[1:], max(TIME_CLASSES, lower[-1] + 1))
    covered = np.maximum(1, np.minimum(upper, TIME_CLASSES) - np.minimum(lower, TIME_CELLS))
    spread = log_probabilities - np.log(covered)
    bins = np.searchsorted(lower, np.minimum(cells, TIME_CELLS - 1), side="right") - 1
    within: Floats = spread[np.arange(len(cells)), bins]
    beyond = upper > TIME_CELLS  # bins that overlap the last class
    return np.where(cells < TIME_CELLS, within, np.logaddexp.reduce(spread[:, beyond], axis=1))


def normal_on_grid(mean: Floats, deviation: float, cells: NDArray[np.int64]) -> Floats:
    """[N] log probability of each class under a normal density, at least log(1e-12)."""
    above = np.where(cells < TIME_CELLS, (cells + 1) * GRID, np.inf)
    below = np.where(cells > 0, cells * GRID, -np.inf)
    probability = _normal((above - mean) / deviation) - _normal((below - mean) / deviation)
    floor: Floats = np.log(np.maximum(probability, 1e-12))
    return floor


def table_on_grid(counts: Floats, cells: NDArray[np.int64]) -> Floats:
    """[N] log of the add-one smoothed frequency of each class in a table [1001] of counts."""
    frequency: Floats = np.log((counts + 1) / (counts + 1).sum())
    return frequency[cells]


def _normal(deviations: Floats) -> Floats:
    """[N] the cumulative distribution of the standard normal."""
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in deviations])


def summed(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """The sum of each entry over all parts."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total


@dataclass(frozen=True, kw_only=True)
class TrainingCounts:
    """Counts of the training split; the counts of shards add up."""

    pitches: Floats
    """[128]."""
    pairs: Floats
    """[128, 128] first pitch, second pitch."""
    steps: Floats
    """[1001] on the grid."""
    durations: Floats
    """[1001] on the grid, key-down."""
    sounding: Floats
    """[1001] on the grid, with the sustain pedal applied."""
    velocities: Floats
    """[128]."""

    @classmethod
    def of(cls, pieces: Iterable[tuple[Notes, Notes]]) -> TrainingCounts:
        """Count pieces, each with key-down and with sounding durations."""
        total = cls.none()
        for key_down, sounding in pieces:
            pitch = key_down["pitch"].astype(np.int64)
            np.add.at(total.pairs, (pitch[:-1], pitch[1:]), 1)
            for table, values in (
                (total.pitches, pitch), (total.velocities, key_down["velocity"]), (total.steps,
                cells_of(steps(key_down)[1:])), (total.durations, cells_of(key_down["duration"])),
                (total.sounding, cells_of(sounding["duration"])),
            ):  # fmt: skip
                table += np.bincount(values, minlength=len(table))
        return total

    @classmethod
    def none(cls) -> TrainingCounts:
        """All counts 0."""
        pitches, times = np.zeros(N_PITCHES), np.zeros(TIME_CLASSES)
        return cls(
            pitches=pitches,
            pairs=np.zeros((N_PITCHES, N_PITCHES)),
            steps=times.copy(),
            durations=times.copy(),
            sounding=times.copy(),
            velocities=pitches.copy(),
        )

    def flat(self) -> Floats:
        """All counts as one vector, which Arrow can hold and which adds up."""
        return np.concatenate([getattr(self, item.name).ravel() for item in fields(self)])

    @classmethod
    def from_flat(cls, flat: Floats) -> TrainingCounts:
        """The counts of a vector from ``flat``, or of a sum of such vectors."""
        empty, start, found = cls.none(), 0, {}
        for item in fields(cls):
            table = getattr(empty, item.name)
            found[item.name] = flat[start : start + table.size].reshape(table.shape)
            start += table.size
        return cls(**found)

    @property
    def unigram(self) -> Floats:
        """[128] probability of each pitch."""
        return (self.pitches + 1) / (self.pitches + 1).sum()

    @property
    def repeats(self) -> float:
        """Rate at which a pitch follows itself."""
        return float((np.trace(self.pairs) + 1) / (self.pairs.sum() + 2))


def reference_sums(key_down: Notes, sounding: Notes, counts: TrainingCounts) -> dict[str, float]:
    """Negative log-likelihood of a piece under each reference model: nats, summed over all but 25 notes."""
    pitch = key_down["pitch"].astype(np.int64)
    true, last = pitch[CONTEXT_NOTES:], pitch[CONTEXT_NOTES - 1 : -1]
    unigram = counts.unigram
    pairs = (counts.pairs + unigram)[last, true] / (counts.pairs.sum(axis=1) + 1)[last]
    recent = sliding_window_view(pitch[:-1], CONTEXT_NOTES)
    share = (recent == true[:, None]).mean(axis=1)
    repeats = counts.repeats * (true == last) + (1 - counts.repeats) * unigram[true]
    nats = {
        "uniform.pitch_nll": np.full(len(true), math.log(N_PITCHES)),
        "unigram.pitch_nll": -np.log(unigram[true]),
        "repeat_last.pitch_nll": -np.log(repeats),
        "bigram.pitch_nll": -np.log(pairs),
        "unigram_recent.pitch_nll": -np.log(unigram[true] / 2 + share / 2),
        "unigram.velocity_nll": -table_on_grid(
            counts.velocities, key_down["velocity"][CONTEXT_NOTES:].astype(int)
        ),
    }
    step = cells_of(steps(key_down)[CONTEXT_NOTES:])
    key_down_cells, sounding_cells = (
        cells_of(notes["duration"][CONTEXT_NOTES:]) for notes in (key_down, sounding)
    )
    uniform = np.full(len(true), math.log(TIME_CLASSES))
    nats |= {
        "uniform.step_nll": uniform,
        "uniform.duration_nll": uniform,
        "unigram.step_nll": -table_on_grid(counts.steps, step),
        "unigram.duration_nll": -table_on_grid(counts.durations, key_down_cells),
        "unigram.duration_with_pedal_nll": -table_on_grid(counts.sounding, sounding_cells),
    }
    return {name: float(values.sum()) for name, values in nats.items()}
