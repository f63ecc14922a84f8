"""Melody: a pitch track and its loudness to notes. Pure arithmetic, no decoding.

Conventions
-----------
A frame lasts ``FRAME`` seconds. Pitch is a fractional MIDI number, loudness is in dB. A melody has one note
at a time. The pitch of a voice glides and trembles within a note, so the track is not cut where the pitch
moves. Dynamic programming finds the sequence of whole-semitone notes and rests with the least cost: the
distance of each frame from its note, plus a price for each new note, which is lower where the loudness rises.
This is a simple form of Mauch et al., "Computer-aided Melody Note Transcription Using the Tony Software",
2015. Letters: **t** frames.
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
LOWEST_PITCH, HIGHEST_PITCH = 36, 96
"""C2 and C7, from the lowest bass note to the highest whistled one."""


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """Settings of the segmentation, chosen on four sung recordings and one trumpet."""

    new_note: float = 8.0
    """Price of a new note, in semitones times frames: that of eight frames which are one semitone off."""
    ease: float = 0.7
    """Share by which a rise of ``full_rise`` dB lowers that price."""
    full_rise: float = 8.0
    """dB of rise at which the price is lowest."""
    repeat_rise: float = 5.0
    """dB of rise within 60 ms at which the same pitch starts a new note."""
    far: float = 2.5
    """Semitones; the cost of a frame is no higher, so that an outlier does not make a note."""
    fade: float = 15.0
    """dB below the loudest frame nearby at which a frame's pitch has the least weight (a consonant)."""
    shortest: float = 0.07
    """Seconds of voiced frames that a note needs."""
    apart: float = 0.1
    """Least seconds between two onsets of one pitch."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A note: frames ``first`` to ``last`` (exclusive), median pitch, loudness in dB."""

    first: int
    last: int
    pitch: float
    level: float


def active_frames(loudness: Floats) -> Flags:
    """[t] True for a frame of the performance, False for background noise.

    A frame is active within 35 dB of the loud frames (95th percentile) and 8 dB above the quiet ones (5th
    percentile); frames within 15 dB of the loud ones are always active.
    """
    loud, quiet = np.percentile(loudness, [95, 5])
    return loudness > max(loud - 35, min(quiet + 8, loud - 15))


def steadiness(pitch: Floats, voiced: Flags) -> float:
    """Share of voiced frames inside 120 ms of steady pitch (slope under 2 semitones a second).

    Singing, humming and instruments reach two thirds or more, also with vibrato; speech reaches a third.
    0 if no frame is voiced.
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


def without_octave_errors(pitch: Floats) -> Floats:
    """[t] the track with short jumps of exactly an octave moved back to their neighbours."""
    half = round(0.2 / FRAME)
    usual = np.median(_moving(np.pad(pitch, half, mode="edge"), 2 * half + 1), axis=1)
    octaves = np.rint((pitch - usual) / 12)
    slipped = (octaves != 0) & (np.abs(pitch - usual - 12 * octaves) < 0.7)
    return np.where(slipped, pitch - 12 * octaves, pitch)


def segments(
    pitch: Floats, voiced: Flags, loudness: Floats, settings: Segmentation = Segmentation()
) -> list[Segment]:
    """Segment a pitch track into notes.

    Args:
        pitch: [t] fractional MIDI numbers; any finite number in unvoiced frames.
        voiced: [t] True in voiced frames.
        loudness: [t] dB.
        settings: of the segmentation.

    Returns:
        Notes in order of time, none overlapping.
    """
    gain = loudness_rise(loudness)
    state = _best_states(pitch, voiced, loudness, gain, settings)
    cut = np.diff(state, prepend=-1) != 0
    rest = HIGHEST_PITCH - LOWEST_PITCH + 1
    near = round(settings.apart / FRAME)
    peaks = (gain >= settings.repeat_rise) & (
        gain == _moving(np.pad(gain, near // 2), 2 * (near // 2) + 1).max(1)
    )
    for t in np.flatnonzero(peaks & (state != rest)):
        cut[t] |= not cut[max(0, t - near) : t + near + 1].any()
    edges = [*np.flatnonzero(cut).tolist(), len(state)]
    found = []
    for start, stop in pairwise(edges):
        frames = start + np.flatnonzero(voiced[start:stop])
        if state[start] != rest and len(frames) * FRAME >= settings.shortest:
            level = float(np.percentile(loudness[frames], 90))
            middle = float(np.median(pitch[frames]))
            found.append(Segment(first=int(frames[0]), last=int(frames[-1]) + 1, pitch=middle, level=level))
    return found


def loudness_rise(loudness: Floats) -> Floats:
    """[t] rise in dB over the 60 ms around each frame, 0 where the loudness falls."""
    half = round(0.03 / FRAME)
    padded = np.pad(loudness, half, mode="edge")
    return np.maximum(padded[2 * half :] - padded[: -2 * half], 0)


def tuning(found: list[Segment]) -> float:
    """The performer's tuning: semitones in (-.5, .5] above 440 Hz; 0 if the pitches keep no tuning.

    The circular mean of the notes' deviations from whole semitones, weighted by duration. A performer who
    drifts keeps no tuning, and rounding to the nearest semitone is then the better guess.
    ``librosa.estimate_tuning`` takes a histogram of spectral peaks instead and always returns a tuning.
    """
    if not found:
        return 0.0
    length = np.array([note.last - note.first for note in found], dtype=float)
    angle = np.exp(2j * np.pi * np.array([note.pitch for note in found]))
    mean = complex((length * angle).sum() / length.sum())
    return float(np.angle(mean) / (2 * np.pi)) if abs(mean) > 0.5 else 0.0


def _best_states(
    pitch: Floats, voiced: Flags, loudness: Floats, gain: Floats, s: Segmentation
) -> NDArray[np.int16]:
    """[t] the sequence of states of least cost: semitones above ``LOWEST_PITCH``, or ``rest``."""
    loudest = _moving(np.pad(loudness, 25, mode="edge"), 51).max(axis=1)  # within half a second
    weight = np.clip(1 - (loudest - loudness) / s.fade, 0.1, 1)
    keys = np.arange(LOWEST_PITCH, HIGHEST_PITCH + 1)
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
    """[t - width + 1, width] the windows of the values, as a view."""
    return np.lib.stride_tricks.sliding_window_view(values, width)
