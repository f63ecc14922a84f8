"""Targets: an emotion and a seed to the attributes that the music should have.

Conventions
-----------
Attributes are those of ``dataset/attributes.py``, in network units. The seed's own attributes are the
starting point, so that a continuation keeps its tempo, register and key where the emotion says nothing of
them. Valence decides the mode: a happy piece goes to its own major key or, from minor, to the relative
major; a sad one to its own minor key or, from major, to the parallel minor. The profile it aims at is what
pianists play in that key, not the key's template: templates make a drone.

Letters: **A** = 16 attributes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emoray.dataset.attributes import GROUPS, N_ATTRIBUTES
from emoray.dataset.keys import key_of, parallel, relative

FITTED = Path(__file__).parent / "emotion_map.json"
FURTHEST = 2.5
"""Standard deviations from the mean that no target goes beyond."""


@dataclass(frozen=True, kw_only=True)
class EmotionMap:
    """How far each attribute moves, in standard deviations of MAESTRO's training pieces."""

    valence: dict[str, float]
    """Change from neutral to a valence of 1, by attribute."""
    arousal: dict[str, float]
    """Change from neutral to an arousal of 1."""
    profiles: tuple[tuple[float, ...], tuple[float, ...]]
    """Share of each pitch class in major and in minor, tonic first."""
    weights: dict[str, float]
    """Of the key-relative features in guidance ``logodds``."""
    closeness: float = 0.9
    """How much of the way from the seed's own profile to the key's a valence of 1 goes."""
    sharpness: float = 1.15
    """Power of the key's profile: windows of one piece are less even than their mean."""


@cache
def fitted_map() -> EmotionMap:
    """The map that ships with emoray, fitted to people's labels."""
    fields = json.loads(FITTED.read_text())
    fields["profiles"] = tuple(tuple(profile) for profile in fields["profiles"])
    return EmotionMap(**{name: value for name, value in fields.items() if name != "provenance"})


def key_for(profile: NDArray[np.float64], valence: float) -> int:
    """The key that a piece with a pitch-class profile [12] goes to; its own at a valence of 0."""
    own = key_of(profile)
    if valence > 0 and own >= 12:
        return relative(own)
    if valence < 0 and own < 12:
        return parallel(own)
    return own


def key_profile(key: int, emotion_map: EmotionMap) -> NDArray[np.float64]:
    """[12] share of each pitch class that a piece in a key should have."""
    mean = np.array(emotion_map.profiles[key // 12]) ** emotion_map.sharpness
    profile: NDArray[np.float64] = np.roll(mean / mean.sum(), key % 12)
    return profile


def target(
    own: NDArray[np.float32], valence: float, arousal: float, emotion_map: EmotionMap
) -> NDArray[np.float32]:
    """[A] the attributes to play with.

    Args:
        own: [A] the seed's attributes.
        valence: -1..1.
        arousal: -1..1.
        emotion_map: how far each attribute moves.
    """
    aimed = np.empty(N_ATTRIBUTES, np.float32)
    profile = (own[GROUPS["profile"]].astype(np.float64) + 1) / 12
    share = emotion_map.closeness * min(1.0, abs(valence))
    wanted = key_profile(key_for(profile, valence), emotion_map)
    aimed[GROUPS["profile"]] = 12 * ((1 - share) * profile + share * wanted) - 1
    for name, part in list(GROUPS.items())[1:]:
        change = valence * emotion_map.valence.get(name, 0.0) + arousal * emotion_map.arousal.get(name, 0.0)
        aimed[part] = np.clip(own[part] + change, -FURTHEST, FURTHEST)
    return aimed
