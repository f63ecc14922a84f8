"""Targets: an emotion and a seed to the attributes that the music should have.

Conventions
-----------
Attributes are those of ``dataset/attributes.py``, in network units. The seed's own attributes are the
starting point. Valence decides the mode: a happy piece goes to its own major key or, from minor, to the
relative major; a sad one to its own minor key or, from major, to the parallel minor. The profile it aims at
is what pianists play in that key, not the key's template: templates make a drone. Happy music keeps more
strictly to its scale (people call chromatic phrases sad), and more evenly, which keeps it various.

Arousal decides density and articulation, and there the aim is a place, not a distance: a slow seed that is
asked to be calm has nowhere to go. Register and velocity move by a distance from the seed's own.

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
PLACES = ("density", "duration")
"""Attributes that arousal moves to a place."""
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10, 11))
"""Major; minor, natural and harmonic: semitones above the tonic."""


@dataclass(frozen=True, kw_only=True)
class EmotionMap:
    """What an emotion does, in standard deviations of MAESTRO's training pieces.

    The first four are fitted (``benchmarks/fit_emotion_map.py``); the rest was chosen on MAESTRO's validation
    split, for a difference that is heard at little cost in likelihood and variety.
    """

    valence: dict[str, float]
    """Change of an attribute from neutral to a valence of 1."""
    arousal: dict[str, float]
    """Change of an attribute from neutral to an arousal of 1."""
    profiles: tuple[tuple[float, ...], tuple[float, ...]]
    """Share of each pitch class in major and in minor, tonic first."""
    weights: dict[str, float]
    """Of the key-relative features in guidance ``logodds``."""
    evenness: tuple[float, float] = (0.8, 1.0)
    """Powers of the profiles: under 1 is more even than pianists are on average."""
    chromatic: tuple[float, float] = (0.2, 1.0)
    """What is left of the share outside the scale."""
    excited: float = 1.4
    """Times the change by arousal is where excited music goes."""
    calm: float = 0.65
    """Times the change by arousal is where calm music goes; slow music is harder to foretell."""
    reach: float = 0.85
    """How much of the way there an arousal of 1 or -1 goes."""


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
    mode = key // 12
    shares = np.array(emotion_map.profiles[mode]) ** emotion_map.evenness[mode]
    inside = np.isin(np.arange(12), SCALES[mode])
    shares = np.where(inside, shares, shares * emotion_map.chromatic[mode])
    profile: NDArray[np.float64] = np.roll(shares / shares.sum(), key % 12)
    return profile


def target(
    own: NDArray[np.float32], valence: float, arousal: float, emotion_map: EmotionMap
) -> NDArray[np.float32]:
    """[A] the attributes to play with.

    Args:
        own: [A] the seed's attributes.
        valence: -1..1.
        arousal: -1..1.
        emotion_map: what an emotion does.
    """
    aimed = np.empty(N_ATTRIBUTES, np.float32)
    profile = (own[GROUPS["profile"]].astype(np.float64) + 1) / 12
    wanted = key_profile(key_for(profile, valence), emotion_map)
    aimed[GROUPS["profile"]] = 12 * (profile + abs(valence) * (wanted - profile)) - 1
    far = emotion_map.excited if arousal > 0 else emotion_map.calm
    for name, part in list(GROUPS.items())[1:]:
        change = valence * emotion_map.valence.get(name, 0.0)
        by_arousal = arousal * emotion_map.arousal.get(name, 0.0)
        if name in PLACES:
            change += emotion_map.reach * abs(arousal) * (far * by_arousal - float(own[part][0]))
        else:
            change += by_arousal
        aimed[part] = np.clip(own[part] + change, -FURTHEST, FURTHEST)
    return aimed
