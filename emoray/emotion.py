"""Emotion: two labels, a valence behind them, and what a reader saw of the listener.

Conventions
-----------
A label is -1 (sad) or +1 (happy), as in the seed document; people write the words, the code the numbers.
``valence`` is a float in [-1, 1], unpleasant to pleasant; a label is its sign. 0 is no emotion at all.
``arousal`` is a float in [-1, 1], calm to excited. A ``Curve`` is both over time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from emoray.errors import RequestError


class Emotion(IntEnum):
    """The two labels of the seed document."""

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


Curve = tuple[tuple[float, float, float], ...]
"""Emotion over time: (seconds after the seed's last onset, valence, arousal), in the order of time."""


def check_curve(curve: Curve, *, subject: object = "curve") -> None:
    """Refuse a curve that no piece can follow.

    Raises:
        RequestError: a number is not finite or out of range, or the times do not rise.
    """
    before = -math.inf
    for seconds, valence, arousal in curve:
        if not 0 <= seconds < math.inf:
            raise RequestError(subject, f"has a point at {seconds} seconds; times start at 0")
        if seconds <= before:
            raise RequestError(subject, f"goes from {before:g} to {seconds:g} seconds; put its points in order")
        for name, value in (("valence", valence), ("arousal", arousal)):
            if not -1 <= value <= 1:
                raise RequestError(subject, f"has the {name} {value} at {seconds:g} s; it must lie in -1..1")
        before = seconds


def along(curve: Curve, seconds: float) -> tuple[float, float]:
    """(valence, arousal) of a curve at a time: straight lines between points, level outside them.

    >>> along(((0, -1, -1), (10, 1, 0)), 5)
    (0.0, -0.5)
    """
    times, valence, arousal = zip(*curve, strict=True)
    return float(np.interp(seconds, times, valence)), float(np.interp(seconds, times, arousal))


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a picture says of the listener."""

    status: str
    """``ok``, ``multi_face``, ``no_face``, ``low_confidence`` or ``decode_error``."""
    label: int | None = None
    """+1 happy, -1 sad; 0 when the reader abstains; None when no face was read."""
    valence: float | None = None
    confidence: float | None = None
    """abs(p(happy) - p(sad)) of the chosen face."""
    faces: int = 0
    """How many faces were found."""
    probabilities: dict[str, float] = field(default_factory=dict)
    backend: str = ""
    """Which model answered: library, version, engine and hash of its weights."""
    reason: str = ""
    """Why there is no label and what to do about it; empty when the status is ``ok``."""
