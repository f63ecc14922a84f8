"""Keys: which of 24 a piece is in, by its pitch-class profile.

Conventions
-----------
A profile is the share of notes in each pitch class, ``[..., 12]``, C first. A key is 0..23: tonic pitch
class, plus 12 when minor. A profile's agreement with a key is its correlation with the key's template.

Source: Krumhansl and Kessler (1982), probe-tone ratings; Krumhansl (1990), key finding by correlation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoray.notes import Floats

MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
TEMPLATES: Floats = np.array(
    [np.roll(template, tonic) for template in (MAJOR, MINOR) for tonic in range(12)], dtype=np.float64
)
"""[24, 12] ratings of each pitch class in each key."""


SCALES = np.array([
    np.roll(np.isin(np.arange(12), degrees), tonic)
    for degrees in ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)) for tonic in range(12)
], dtype=np.float64)  # fmt: skip
"""[24, 12] which pitch classes the major and the harmonic minor scales hold."""


def in_scale(profile: Floats) -> Floats:
    """[..., 12] profiles to the share of notes inside each of the 24 scales, [..., 24].

    >>> float(in_scale(pitch_classes(np.array([60, 62, 64, 66])))[0])
    0.75
    """
    share: Floats = profile @ SCALES.T
    return share


def pitch_classes(pitch: NDArray[Any]) -> Floats:
    """[n] MIDI numbers to a profile [12]; even without notes."""
    counts = np.bincount(np.asarray(pitch, np.int64) % 12, minlength=12).astype(np.float64)
    return counts / counts.sum() if counts.sum() else np.full(12, 1 / 12)


def agreements(profile: Floats) -> Floats:
    """[..., 12] profiles to [..., 24] correlations with each key; 0 for an even profile."""
    centred = profile - profile.mean(axis=-1, keepdims=True)
    size = np.sqrt((centred * centred).sum(axis=-1, keepdims=True))
    templates = TEMPLATES - TEMPLATES.mean(axis=1, keepdims=True)
    templates = templates / np.sqrt((templates * templates).sum(axis=1, keepdims=True))
    return (centred / np.maximum(size, 1e-12)) @ templates.T


def key_of(profile: Floats) -> int:
    """The key that a profile [12] agrees with most.

    >>> key_of(pitch_classes(np.array([60, 64, 67, 72, 65, 62, 59])))
    0
    """
    return int(agreements(profile).argmax())


def majorness(profile: Floats) -> Floats:
    """[..., 12] profiles to how much better the best major key agrees than the best minor one."""
    by_key = agreements(profile)
    best: Floats = by_key[..., :12].max(axis=-1) - by_key[..., 12:].max(axis=-1)
    return best


def relative(key: int) -> int:
    """The key of the other mode with the same notes: A minor for C major.

    >>> relative(0), relative(21)
    (21, 0)
    """
    return 12 + (key + 9) % 12 if key < 12 else (key - 12 + 3) % 12


def parallel(key: int) -> int:
    """The key of the other mode on the same tonic."""
    return (key + 12) % 24
