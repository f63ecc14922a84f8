"""Steering: what to tell the network so that what it plays arrives at a target.

Conventions
-----------
Attributes are those of ``dataset/attributes.py``. A network that is told a target falls short of it, or, when
what is told weighs more, overshoots: a profile that is asked for hard becomes its three likeliest pitch
classes and the music drones. So what is told is the target, moved by what the last notes lacked of it: a
pitch class that was played too often is asked for less. This is proportional control with a gain.

Letters: **R** rows, **W** notes looked back on, **A** = 16 attributes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emoray.compose.targets import FURTHEST
from emoray.dataset.attributes import GROUPS, SHORTEST_SPAN, Attributes, standardised
from emoray.notes import Floats

RAMP = 12
"""Notes over which the music goes from the seed's attributes to the target's."""
GAIN = 1.0
"""Of what was lacking, once all notes that are looked back on are composed ones."""


def played(notes: Floats, count: NDArray[np.int64]) -> Attributes:
    """[R, A] the attributes of the last ``count`` of each row's notes.

    Args:
        notes: [R, W, 4] pitch, step, duration (seconds) and velocity, oldest first.
        count: [R] how many of them are meant; a row with none gets those of its last note.
    """
    width = notes.shape[1]
    meant = np.clip(count, 1, width)
    weight = (np.arange(width) >= width - meant[:, None]).astype(np.float64)

    def mean(column: Floats) -> Floats:
        average: Floats = (column * weight).sum(axis=1) / meant
        return average

    pitch, step, duration, velocity = np.moveaxis(notes, 2, 0)
    place = 12 * np.arange(len(notes))[:, None] + np.rint(pitch).astype(np.int64) % 12
    counts = np.bincount(place.ravel(), weight.ravel(), minlength=12 * len(notes))
    shares = counts.reshape(-1, 12) / meant[:, None]
    music = {
        "density": -np.log(np.maximum(mean(step), SHORTEST_SPAN / meant)),
        "duration": mean(np.log(np.maximum(duration, 0.01))),
        "register": mean(pitch),
        "velocity": mean(velocity),
    }
    return np.concatenate([12 * shares - 1, standardised(music)], axis=1).astype(np.float32)


def steered(
    own: Attributes, aimed: Attributes, achieved: Attributes, count: NDArray[np.int64], window: int
) -> Attributes:
    """[R, A] what to tell.

    Args:
        own: [R, A] the seed's attributes.
        aimed: [R, A] the target's.
        achieved: [R, A] those of the last composed notes.
        count: [R] how many notes are composed.
        window: how many of them ``achieved`` looks back on at most.
    """
    arrived = np.minimum(1.0, (count + 1) / RAMP)[:, None]
    sure = GAIN * np.minimum(1.0, count / window)[:, None]
    told = own + arrived * (aimed - own) + sure * (aimed - achieved)
    profile, rest = GROUPS["profile"], slice(GROUPS["profile"].stop, None)
    shares = np.maximum((told[:, profile] + 1) / 12, 0)
    told[:, profile] = 12 * shares / shares.sum(axis=1, keepdims=True) - 1
    told[:, rest] = np.clip(told[:, rest], -FURTHEST, FURTHEST)
    return told.astype(np.float32)
