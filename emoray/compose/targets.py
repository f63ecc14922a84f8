"""Targets: an emotion and a seed to the attributes that the music should have.

Conventions
-----------
Attributes are those of ``dataset/attributes.py``, in network units. The seed's own attributes are the
starting point. Valence decides the mode: a happy piece goes to its own major key or, from minor, to the
relative major; a sad one to its own minor key or, from major, to the parallel minor. The profile it aims at
is what pianists play in that key, not the key's template (templates make a drone), leaning the way that
labelled phrases of that valence lean: happy ones keep to their scale, sad ones have more leading tones and
tritones.

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


@dataclass(frozen=True, kw_only=True)
class EmotionMap:
    """What an emotion does, in standard deviations of MAESTRO's training pieces.

    The first five are fitted (``benchmarks/fit_emotion_map.py``); the rest was chosen on MAESTRO's validation
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
    leaning: tuple[tuple[float, ...], tuple[float, ...]]
    """How much more often happy phrases in major, and sad ones in minor, play each pitch class than phrases
    of the other valence in the same mode; tonic first."""
    register: float = 0.6
    """Change of register from neutral to a valence of 1, instead of the fitted one: it is the third cue of
    valence after mode and tempo (Eerola, Friberg and Bresin 2013), which 44 phrases are too few to show."""
    lean: tuple[float, float] = (0.8, 1.7)
    """Powers of the leanings, in major and in minor."""
    evenness: tuple[float, float] = (0.75, 0.55)
    """Powers of the profiles: under 1 is more even than pianists are on average, and keeps music various."""
    excited: float = 0.8
    """Times the change by arousal is where excited music goes; further, and even tense music sounds merry."""
    calm: float = 0.9
    """Times the change by arousal is where calm music goes."""


@cache
def fitted_map() -> EmotionMap:
    """The map that ships with emoray, fitted to people's labels."""
    fields = json.loads(FITTED.read_text())
    for name in ("profiles", "leaning"):
        fields[name] = tuple(tuple(mode) for mode in fields[name])
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
    shares = shares * np.array(emotion_map.leaning[mode]) ** emotion_map.lean[mode]
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
    by_valence = emotion_map.valence | {"register": emotion_map.register}
    for name, part in list(GROUPS.items())[1:]:
        change = valence * by_valence.get(name, 0.0)
        by_arousal = arousal * emotion_map.arousal.get(name, 0.0)
        if name in PLACES:
            change += abs(arousal) * (far * by_arousal - float(own[part][0]))
        else:
            change += by_arousal
        aimed[part] = np.clip(own[part] + change, -FURTHEST, FURTHEST)
    return aimed
