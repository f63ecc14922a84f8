"""Notes: the one representation of music that every other module reads or writes.

Conventions
-----------
A piece is a 1-D structured array of dtype ``NOTE``, sorted by (onset, pitch). Times are in seconds;
pitch is a MIDI number (60 = middle C). ``duration`` is key-down time, or sounding time where a name says so:
with the sustain pedal applied. ``step`` is derived from onset and never stored.

Letters: **n** notes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emoray.errors import MidiError

NOTE = np.dtype([("onset", "<f8"), ("duration", "<f4"), ("pitch", "u1"), ("velocity", "u1")])
FIELDS: tuple[str, ...] = NOTE.names or ()
N_PITCHES = 128
LOWEST_KEY, HIGHEST_KEY = 21, 108
"""The 88 keys of a piano, A0 to C8."""
SHORTEST = 0.01
"""Seconds. A shorter note is written by MIDI as one that never ends, so no writer makes one."""

_RANGES = {
    "onset": (0, np.finfo(np.float32).max), "duration": (1e-9, np.finfo(np.float32).max),
    "pitch": (0, 127), "velocity": (1, 127),
}  # fmt: skip

Floats = NDArray[np.float64]
"""An array of doubles of any shape."""
Notes = NDArray[Any]
"""[n] of dtype ``NOTE``."""


def as_notes(
    onset: ArrayLike, duration: ArrayLike, pitch: ArrayLike, velocity: ArrayLike, *, subject: object = "notes"
) -> Notes:
    """Build a sorted, valid note array: the only constructor of dtype ``NOTE``.

    Args:
        onset: [n] seconds from the start of the piece, any order, not negative.
        duration: [n] seconds, > 0.
        pitch: [n] MIDI number, 0..127.
        velocity: [n] MIDI velocity, 1..127.
        subject: what to blame in the error, usually a path.

    Returns:
        [n] of dtype ``NOTE``, sorted by (onset, pitch); n may be 0.

    Raises:
        MidiError: a column is not finite or out of range.
    """
    columns = [np.asarray(column).reshape(-1) for column in (onset, duration, pitch, velocity)]
    for (name, (low, high)), column in zip(_RANGES.items(), columns, strict=True):
        if len(column) and not (column.min() >= low and column.max() <= high):  # what is no number is neither
            finite = np.isfinite(column).all()
            reason = f"outside {low}..{high}" if finite else "not a finite number"
            raise MidiError(subject, f"a note's {name} is {reason}; export the file again")
    notes = np.empty(len(columns[0]), NOTE)
    for name, column in zip(FIELDS, columns, strict=True):
        notes[name] = column
    return notes if _is_sorted(notes) else notes[np.lexsort((notes["pitch"], notes["onset"]))]


def _is_sorted(notes: Notes) -> bool:
    """Whether notes are sorted by (onset, pitch)."""
    onset, pitch = notes["onset"], notes["pitch"]
    in_order = (onset[1:] > onset[:-1]) | ((onset[1:] == onset[:-1]) & (pitch[1:] >= pitch[:-1]))
    return bool(in_order.all())


def steps(notes: Notes) -> NDArray[np.float64]:
    """[n] seconds since the previous onset; 0 for the first note.

    >>> steps(as_notes([1.0, 1.5, 1.5], [1, 1, 1], [60, 60, 64], [80, 80, 80])).tolist()
    [0.0, 0.5, 0.0]
    """
    onset = notes["onset"]
    return np.diff(onset, prepend=onset[:1])


def end(notes: Notes) -> float:
    """Seconds at which the last sounding note stops; 0 without notes."""
    return float((notes["onset"] + notes["duration"]).max()) if len(notes) else 0.0


def transposed(notes: Notes, semitones: int) -> Notes:
    """The same notes, so many semitones higher; one that would leave the piano moves by octaves back onto it.

    >>> transposed(as_notes([0, 1, 2], [1] * 3, [60, 100, 108], [80] * 3), 12)["pitch"].tolist()
    [72, 100, 108]
    """
    if not semitones:
        return notes
    pitch = notes["pitch"].astype(np.int64) + semitones
    pitch -= 12 * np.maximum(0, -(-(pitch - HIGHEST_KEY) // 12))
    pitch += 12 * np.maximum(0, -(-(LOWEST_KEY - pitch) // 12))
    return as_notes(notes["onset"], notes["duration"], pitch, notes["velocity"])


def starting_at(notes: Notes, seconds: float) -> Notes:
    """The same notes, moved so that the first one starts at ``seconds``."""
    moved = notes.copy()
    if len(notes):
        moved["onset"] += seconds - notes["onset"][0]
    return moved
