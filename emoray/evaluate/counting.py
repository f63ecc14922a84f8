"""Counting: what rules that only count know of the next note; every model has to beat them.

Conventions
-----------
Counts are of the training split. Rows: ``uniform`` (all alike), ``unigram`` (training frequencies),
``repeat_last`` (the last pitch at the training rate of repeats, else the unigram), ``bigram`` (frequencies
after the last pitch), ``unigram_recent`` (half unigram, half histogram of the last 25 pitches). One is added
to each count. Times are on the grid of ``evaluate/grid.py``, key-down and sounding durations apart.

Letters: **N** notes of a piece that are predicted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from emoray.evaluate.grid import CLASSES, cells_of, table_on_grid
from emoray.notes import N_PITCHES, Floats, Notes, steps

RECENT = 25
"""Pitches in the histogram, and notes before the first that is predicted, for every model."""


@dataclass(frozen=True, kw_only=True)
class TrainingCounts:
    """What counting knows of the training split; counts add up over shards."""

    pitches: Floats
    """[128]."""
    pairs: Floats
    """[128, 128] first pitch, second pitch."""
    steps: Floats
    """[1001] on the grid."""
    durations: Floats
    """[1001] on the grid, key-down."""
    sounding: Floats
    """[1001] on the grid, with the pedal."""
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
        """Nothing counted yet."""
        grid = (np.zeros(CLASSES) for _ in range(3))
        square = np.zeros((N_PITCHES, N_PITCHES))
        names = dict(zip(("steps", "durations", "sounding"), grid, strict=True))
        return cls(pitches=np.zeros(N_PITCHES), velocities=np.zeros(N_PITCHES), pairs=square, **names)

    def flat(self) -> Floats:
        """All counts in a row, to travel and add up."""
        return np.concatenate([getattr(self, item.name).ravel() for item in fields(self)])

    @classmethod
    def from_flat(cls, flat: Floats) -> TrainingCounts:
        """What ``flat`` made, or a sum of several."""
        empty, place, found = cls.none(), 0, {}
        for item in fields(cls):
            table = getattr(empty, item.name)
            found[item.name] = flat[place : place + table.size].reshape(table.shape)
            place += table.size
        return cls(**found)

    @property
    def unigram(self) -> Floats:
        """[128] chances of each pitch."""
        return (self.pitches + 1) / (self.pitches + 1).sum()

    @property
    def repeats(self) -> float:
        """How often a pitch follows itself."""
        return float((np.trace(self.pairs) + 1) / (self.pairs.sum() + 2))


def counting_sums(key_down: Notes, sounding: Notes, counts: TrainingCounts) -> dict[str, float]:
    """Nats of a piece under each counting rule, summed over its notes after the first 25."""
    pitch = key_down["pitch"].astype(np.int64)
    true, last = pitch[RECENT:], pitch[RECENT - 1 : -1]
    unigram = counts.unigram
    pairs = (counts.pairs + unigram)[last, true] / (counts.pairs.sum(axis=1) + 1)[last]
    recent = sliding_window_view(pitch[:-1], RECENT)
    share = (recent == true[:, None]).mean(axis=1)
    repeats = counts.repeats * (true == last) + (1 - counts.repeats) * unigram[true]
    nats = {
        "uniform.pitch_nll": np.full(len(true), math.log(N_PITCHES)),
        "unigram.pitch_nll": -np.log(unigram[true]),
        "repeat_last.pitch_nll": -np.log(repeats),
        "bigram.pitch_nll": -np.log(pairs),
        "unigram_recent.pitch_nll": -np.log(unigram[true] / 2 + share / 2),
        "unigram.velocity_nll": -table_on_grid(counts.velocities, key_down["velocity"][RECENT:].astype(int)),
    }
    step = cells_of(steps(key_down)[RECENT:])
    key_down_cells, sounding_cells = (cells_of(notes["duration"][RECENT:]) for notes in (key_down, sounding))
    uniform = np.full(len(true), math.log(CLASSES))
    nats |= {
        "uniform.step_nll": uniform,
        "uniform.duration_nll": uniform,
        "unigram.step_nll": -table_on_grid(counts.steps, step),
        "unigram.duration_nll": -table_on_grid(counts.durations, key_down_cells),
        "unigram.sounding_nll": -table_on_grid(counts.sounding, sounding_cells),
    }
    return {name: float(values.sum()) for name, values in nats.items()}
