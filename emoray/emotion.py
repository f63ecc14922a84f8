"""Emotion: labels, valence and arousal, curves over time, and the evidence of a picture.

Conventions
-----------
A label is -1 (sad) or +1 (happy), as in the original system; people write words, the code has numbers.
``valence`` is a float in [-1, 1], unpleasant to pleasant; a label is its sign. 0 is no emotion at all.
``arousal`` is a float in [-1, 1], calm to excited. A ``Curve`` is both over time.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from emoray.errors import RequestError


class Emotion(IntEnum):
    """The two labels of the original system."""

    SAD = -1
    HAPPY = 1


def parse_valence(text: str | float, *, subject: object = "emotion") -> float:
    """``happy``, ``sad`` or a number in [-1, 1] as a valence.

    Raises:
        RequestError: it is none of these.

    >>> parse_valence("sad"), parse_valence("0.25")
    (-1.0, 0.25)
    """
    if isinstance(text, bool) or text is None:
        raise RequestError(subject, f"{text!r} is not an emotion; write happy, sad or a number from -1 to 1")
    word = str(text).strip().lower()
    if word in ("happy", "sad"):
        return float(Emotion[word.upper()])
    try:
        valence = float(word)
    except ValueError:
        valence = math.nan
    if not -1 <= valence <= 1:  # NaN lands here too
        raise RequestError(subject, f"{text!r} is not an emotion; write happy, sad or a number from -1 to 1")
    return valence


EMOTION_WORDS = {
    "happy": (1.0, None),
    "sad": (-1.0, None),
    "excited": (1.0, 1.0),
    "tense": (-1.0, 1.0),
    "angry": (-1.0, 1.0),
    "gloomy": (-1.0, -1.0),
    "calm": (1.0, -1.0),
    "relaxed": (1.0, -1.0),
}
"""(valence, arousal) of each word that a request may have; without an arousal, the valence decides it."""


def parse_emotion(text: str | float, *, subject: object = "emotion") -> tuple[float, float | None]:
    """A word of ``EMOTION_WORDS`` or a valence in [-1, 1] as (valence, arousal).

    Raises:
        RequestError: it is neither.

    >>> parse_emotion("calm"), parse_emotion("sad"), parse_emotion(0.25)
    ((1.0, -1.0), (-1.0, None), (0.25, None))
    """
    found = EMOTION_WORDS.get(str(text).strip().lower())
    if found is not None:
        return found
    try:
        return parse_valence(text, subject=subject), None
    except RequestError as err:
        reason = f"{text!r} is not an emotion; write {', '.join(EMOTION_WORDS)} or a number from -1 to 1"
        raise RequestError(subject, reason) from err


Curve = tuple[tuple[float, float, float], ...]
"""Emotion over time: (seconds after the seed's last onset, valence, arousal), in the order of time."""
MAX_CURVE_POINTS = 1_000


def check_curve(curve: Curve, *, subject: object = "curve") -> None:
    """Check a curve.

    Raises:
        RequestError: a number is not finite or out of range, or the times do not increase.
    """
    before = -math.inf
    for seconds, valence, arousal in curve:
        if not 0 <= seconds < math.inf:
            raise RequestError(subject, f"has a point at {seconds} seconds; times start at 0")
        if seconds <= before:
            raise RequestError(
                subject, f"goes from {before:g} to {seconds:g} seconds; put its points in order"
            )
        for name, value in (("valence", valence), ("arousal", arousal)):
            if not -1 <= value <= 1:
                raise RequestError(subject, f"has the {name} {value} at {seconds:g} s; it must lie in -1..1")
        before = seconds


def parse_curve(text: str, *, subject: object = "curve") -> Curve:
    """A JSON list of [seconds, valence] or [seconds, valence, arousal] as a curve, checked.

    Raises:
        RequestError: it is not such a list, is empty or too long, or ``check_curve`` refuses it.

    >>> parse_curve("[[0, -1], [20, 1, 0.5]]")
    ((0.0, -1.0, -1.0), (20.0, 1.0, 0.5))
    """
    try:
        points = json.loads(text)
        if not isinstance(points, list) or not 0 < len(points) <= MAX_CURVE_POINTS:
            raise ValueError(f"it needs 1 to {MAX_CURVE_POINTS} points")
        curve = []
        for point in points:
            if not isinstance(point, list) or any(type(number) not in (int, float) for number in point):
                raise ValueError(f"{point!r} is no point")
            seconds, valence, *arousal = point
            [level] = arousal or [valence]
            curve.append((float(seconds), float(valence), float(level)))
    except (ValueError, RecursionError, OverflowError) as err:
        reason = f"is not a list of [seconds, valence] or [seconds, valence, arousal] ({err}); write JSON"
        raise RequestError(subject, reason) from err
    check_curve(tuple(curve), subject=subject)
    return tuple(curve)


def along(curve: Curve, seconds: float) -> tuple[float, float]:
    """(valence, arousal) of a curve at a time: linear between its points, constant outside them.

    >>> along(((0, -1, -1), (10, 1, 0)), 5)
    (0.0, -0.5)
    """
    times, valence, arousal = zip(*curve, strict=True)
    return float(np.interp(seconds, times, valence)), float(np.interp(seconds, times, arousal))


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the face reader found in a picture."""

    status: str
    """``ok``, ``multi_face``, ``no_face``, ``low_confidence`` or ``decode_error``."""
    label: int | None = None
    """+1 happy, -1 sad, 0 if the network abstains, None if no face was read."""
    valence: float | None = None
    confidence: float | None = None
    """abs(p(happy) - p(sad)) of the chosen face."""
    faces: int = 0
    """The number of faces in the picture."""
    probabilities: dict[str, float] = field(default_factory=dict)
    backend: str = ""
    """The network: library, version, engine and hash of its weights."""
    reason: str = ""
    """Why there is no label, and the remedy; empty if the status is ``ok``."""
