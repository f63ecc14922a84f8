"""Emotion: two labels, a valence behind them, and what a reader saw of the listener.

Conventions
-----------
A label is -1 (sad) or +1 (happy), as in the seed document; people write the words, the code the numbers.
``valence`` is a float in [-1, 1], unpleasant to pleasant; a label is its sign. 0 is no emotion at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

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
