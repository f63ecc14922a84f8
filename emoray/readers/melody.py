"""Melody: a pitch track and its loudness, frame by frame, to notes. Pure arithmetic, no decoding.

Conventions
-----------
A frame lasts ``FRAME`` seconds. Pitch is a fractional MIDI number, loudness is in dB. A melody has one note
at a time; a voice glides, trembles and swallows consonants between its notes, so the track is not cut where
it moves but explained: of all sequences of whole-semitone notes and silences the one that fits best, where
each new note costs something (dynamic programming; the idea of Mauch et al., "Computer-aided Melody Note
Transcription Using the Tony Software", 2015, in its plainest form). A new note is cheaper where the
loudness rises. Letters: **t** frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoray.notes import Floats

Flags = NDArray[np.bool_]

FRAME = 0.01
LOWEST, HIGHEST = 36, 96
"""C2 and C7: basses, sopranos and whistlers."""


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """What makes a note. The defaults were chosen on four sung recordings and one trumpet."""

    new_note: float = 8.0
    """Price of a new note, in semitones times frames: so eight frames a semitone away are worth one."""
    ease: float = 0.7
    """Share of that price that a rise of ``full_rise`` dB waives."""
    full_rise: float = 8.0
    repeat_rise: float = 5.0
    """dB of rise within 60 ms that strike the same pitch again."""
    far: float = 2.5
    """Semitones; a frame further away counts as this far, so an outlier cannot buy a note."""
    fade: float = 15.0
    """dB below the loudest frame nearby at which a frame's pitch no longer counts (a consonant)."""
    shortest: float = 0.07
    """Seconds of voice that make a note."""
    apart: float = 0.1
    """Seconds between two strikes of one pitch."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A sung note: frames ``first`` to ``last`` (exclusive), median pitch, level in dB."""

    first: int
    last: int
    pitch: float
    level: float


def audible(loudness: Floats) -> Flags:
    """[t] True where a frame is part of the performance and not of the room.

    Within 35 dB of the loud frames, 8 dB over the quiet ones; but 15 dB of dynamics are always left.
    """
    loud, quiet = np.percentile(loudness, [95, 5])
    return loudness > max(loud - 35, min(quiet + 8, loud - 15))


def steadiness(pitch: Floats, voiced: Flags) -> float:
    """Share of the voiced frames inside 120 ms of steady pitch (slope under 2 semitones a second).

    Singing, humming and instruments keep two thirds and more, with vibrato too; speech glides on
    and keeps a third. 0 without voice.
    """
    width = round(0.12 / FRAME)
    if voiced.sum() < 2 * width:
        return 0.0
    time = (np.arange(width) - (width - 1) / 2) * FRAME
    windows = np.lib.stride_tricks.sliding_window_view(pitch, width)
    slope = windows @ time / (time @ time)
    steady = (np.abs(slope) < 2) & (windows.std(axis=1) < 1) & (_moving(voiced, width).sum(axis=1) == width)
    inside = np.convolve(steady, np.ones(width)) > 0.5  # every frame of a steady window
    return float((inside & voiced).sum() / voiced.sum())


def unslipped(pitch: Floats) -> Floats:
    """[t] the same track, with short slips of exactly an octave put back beside their neighbours."""
    half = round(0.2 / FRAME)
    usual = np.median(_moving(np.pad(pitch, half, mode="edge"), 2 * half + 1), axis=1)
    octaves = np.rint((pitch - usual) / 12)
    slipped = (octaves != 0) & (np.abs(pitch - usual - 12 * octaves) < 0.7)
    return np.where(slipped, pitch - 12 * octaves, pitch)


def segments(
    pitch: Floats, voiced: Flags, loudness: Floats, settings: Segmentation = Segmentation()
) -> list[Segment]:
    """The notes of a melody.

    Args:
        pitch: [t] fractional MIDI numbers; anything finite where there is no voice.
        voiced: [t] True where the performer sings.
        loudness: [t] dB.
        settings: what makes a note.

    Returns:
        Notes in order, none overlapping.
    """
    gain = rise(loudness)
    state = _explain(pitch, voiced, loudness, gain, settings)
    cut = np.diff(state, prepend=-1) != 0
    silence = HIGHEST - LOWEST + 1
    near = round(settings.apart / FRAME)
    peaks = (gain >= settings.repeat_rise) & (
        gain == _moving(np.pad(gain, near // 2), 2 * (near // 2) + 1).max(1)
    )
    for t in np.flatnonzero(peaks & (state != silence)):
        cut[t] |= not cut[max(0, t - near) : t + near + 1].any()
    edges = [*np.flatnonzero(cut).tolist(), len(state)]
    found = []
    for start, stop in pairwise(edges):
        frames = start + np.flatnonzero(voiced[start:stop])
        if state[start] != silence and len(frames) * FRAME >= settings.shortest:
            level = float(np.percentile(loudness[frames], 90))
            middle = float(np.median(pitch[frames]))
            found.append(Segment(first=int(frames[0]), last=int(frames[-1]) + 1, pitch=middle, level=level))
    return found


def rise(loudness: Floats) -> Floats:
    """[t] dB gained over the 60 ms around each frame, 0 where it falls."""
    half = round(0.03 / FRAME)
    padded = np.pad(loudness, half, mode="edge")
    return np.maximum(padded[2 * half :] - padded[: -2 * half], 0)


def tuning(found: list[Segment]) -> float:
    """Semitones in (-.5, .5] that the performer is sharp of 440 Hz; 0 when no one tuning is kept.

    The circular mean of the notes' pitches, each as heavy as it is long. A performer who drifts has no
    tuning to correct, and rounding to the nearest key is then the better guess.
    """
    if not found:
        return 0.0
    length = np.array([note.last - note.first for note in found], dtype=float)
    angle = np.exp(2j * np.pi * np.array([note.pitch for note in found]))
    mean = complex((length * angle).sum() / length.sum())
    return float(np.angle(mean) / (2 * np.pi)) if abs(mean) > 0.5 else 0.0


def _explain(
    pitch: Floats, voiced: Flags, loudness: Floats, gain: Floats, s: Segmentation
) -> NDArray[np.int16]:
    """[t] the cheapest sequence of states: semitones from ``LOWEST``, then silence."""
    loudest = _moving(np.pad(loudness, 25, mode="edge"), 51).max(axis=1)  # half a second around
    weight = np.clip(1 - (loudest - loudness) / s.fade, 0.1, 1)
    keys = np.arange(LOWEST, HIGHEST + 1)
    price = s.new_note * (1 - s.ease * np.minimum(gain / s.full_rise, 1))
    states = np.arange(len(keys) + 1, dtype=np.int16)
    came_from = np.empty((len(pitch), len(states)), np.int16)
    total = np.zeros(len(states))
    for t in range(len(pitch)):
        best = int(total.argmin())
        change = total[best] + price[t]
        came_from[t] = np.where(total <= change, states, best)
        misfit = np.minimum(np.abs(pitch[t] - keys), s.far) if voiced[t] else np.ones(len(keys))
        total = np.minimum(total, change) + weight[t] * np.append(misfit, 1.0 if voiced[t] else 0.0)
    state = np.empty(len(pitch), np.int16)
    here = int(total.argmin())
    for t in reversed(range(len(pitch))):
        state[t] = here
        here = int(came_from[t, here])
    return state


def _moving(values: NDArray[Any], width: int) -> NDArray[Any]:
    """[t - width + 1, width] every window of the values, as a view."""
    return np.lib.stride_tricks.sliding_window_view(values, width)
