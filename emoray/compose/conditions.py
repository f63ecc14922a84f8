"""Conditions: an emotion and a seed to the attributes that the network is given as its condition.

Conventions
-----------
Attributes are those of ``dataset/attributes.py``, in network units. The condition is made in three steps.

1. *Target*. The seed's own attributes are the starting point. Valence decides the mode: a happy piece goes to
   its own major key or, from minor, to the relative major; a sad one to its own minor key or, from major, to
   the parallel minor. The profile it aims at is what pianists play in that key, not the key's template
   (templates make a drone), corrected by how labelled phrases of that valence differ: happy ones keep to
   their scale, sad ones have more leading tones and tritones. Arousal decides onset rate and articulation,
   and there the target is a place, not a distance: a slow seed that shall become calm has nowhere to go.
   Register and velocity move by a distance from the seed's own.
2. *Ramp*. Over the first ``RAMP`` notes the condition goes from the seed's attributes to the target.
3. *Feedback*. A network falls short of its condition or, at a high guidance scale, overshoots it: a profile
   becomes its three likeliest pitch classes and the music drones. So the condition is the target plus what
   the last notes lacked of it: a pitch class that was played too often is asked for less. This is
   proportional control with a gain.

Letters: **C** conditional sequences, **A** = 16 attributes, **W** notes looked back on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emoray.dataset.attributes import GROUPS, N_ATTRIBUTES, SHORTEST_SPAN, Attributes, standardised
from emoray.dataset.keys import key_of, parallel, relative
from emoray.notes import Floats

RAMP = 12
"""Notes over which the condition goes from the seed's attributes to the target."""
GAIN = 1.0
"""Share of what was lacking that is added to the condition, once all notes looked back on are composed."""
FURTHEST = 2.5
"""Standard deviations from the mean that no target goes beyond."""
PLACES = ("onset_rate", "duration")
"""Attributes that arousal moves to a place instead of by a distance."""
FITTED = Path(__file__).parent / "emotion_map.json"


@dataclass(frozen=True, kw_only=True)
class EmotionMap:
    """What an emotion does to attributes, in standard deviations of MAESTRO's training pieces.

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
    """Coefficients of the key-relative features in guidance ``logodds``."""
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
    """Place of excited music in multiples of the change by arousal; beyond it, tense music sounds merry."""
    calm: float = 0.9
    """Place of calm music in multiples of the change by arousal."""


@cache
def fitted_map() -> EmotionMap:
    """The map that ships with emoray, fitted to people's labels."""
    fields = json.loads(FITTED.read_text())
    for name in ("profiles", "leaning"):
        fields[name] = tuple(tuple(mode) for mode in fields[name])
    return EmotionMap(**{name: value for name, value in fields.items() if name != "provenance"})


def target_key(profile: Floats, valence: float) -> int:
    """The key that a piece with a pitch-class profile [12] goes to; its own at a valence of 0."""
    own = key_of(profile)
    if valence > 0 and own >= 12:
        return relative(own)
    if valence < 0 and own < 12:
        return parallel(own)
    return own


def key_profile(key: int, emotion_map: EmotionMap) -> Floats:
    """[12] share of each pitch class that a piece in a key should have."""
    mode = key // 12
    shares = np.array(emotion_map.profiles[mode]) ** emotion_map.evenness[mode]
    shares = shares * np.array(emotion_map.leaning[mode]) ** emotion_map.lean[mode]
    profile: Floats = np.roll(shares / shares.sum(), key % 12)
    return profile


def target(own: Attributes, valence: float, arousal: float, emotion_map: EmotionMap) -> Attributes:
    """[A] the attributes that the music should have.

    Args:
        own: [A] the seed's attributes.
        valence: -1..1.
        arousal: -1..1.
        emotion_map: what an emotion does.
    """
    aimed = np.empty(N_ATTRIBUTES, np.float32)
    profile = (own[GROUPS["profile"]].astype(np.float64) + 1) / 12
    wanted = key_profile(target_key(profile, valence), emotion_map)
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


def achieved(notes: Floats, count: NDArray[np.int64]) -> Attributes:
    """[C, A] the attributes of the last ``count`` of each sequence's notes.

    Args:
        notes: [C, W, 4] pitch, step, duration (seconds) and velocity, oldest first.
        count: [C] how many of them count; a sequence with none gets the attributes of its last note.
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
        "onset_rate": -np.log(np.maximum(mean(step), SHORTEST_SPAN / meant)),
        "duration": mean(np.log(np.maximum(duration, 0.01))),
        "register": mean(pitch),
        "velocity": mean(velocity),
    }
    return np.concatenate([12 * shares - 1, standardised(music)], axis=1).astype(np.float32)


def steered(
    own: Attributes, aimed: Attributes, achieved: Attributes, count: NDArray[np.int64], window: int
) -> Attributes:
    """[C, A] the attributes to give the network as its condition: ramp and feedback.

    Args:
        own: [C, A] the seed's attributes.
        aimed: [C, A] the target's.
        achieved: [C, A] those of the last composed notes.
        count: [C] how many notes are composed.
        window: how many of them ``achieved`` looks back on at most.
    """
    arrived = np.minimum(1.0, (count + 1) / RAMP)[:, None]
    gain = GAIN * np.minimum(1.0, count / window)[:, None]
    asked = own + arrived * (aimed - own) + gain * (aimed - achieved)
    profile, rest = GROUPS["profile"], slice(GROUPS["profile"].stop, None)
    shares = np.maximum((asked[:, profile] + 1) / 12, 0)
    asked[:, profile] = 12 * shares / shares.sum(axis=1, keepdims=True) - 1
    asked[:, rest] = np.clip(asked[:, rest], -FURTHEST, FURTHEST)
    return asked.astype(np.float32)
