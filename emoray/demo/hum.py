"""A hummed seed: a melody as a voice would hum it, synthesised, so that the demo needs nobody's recording.

Harmonics that fall off as on a closed mouth, vibrato that sets in late, a short glide into each note, a
breath after each note, and a room that is not quite silent. One channel, 16 bit; the same notes give the
same bytes.
"""

from __future__ import annotations

import io

import numpy as np

from emoray.notes import Floats, Notes, end

RATE = 22_050
VIBRATO, DEPTH, SETS_IN = 5.3, 0.25, 0.2
"""Hertz, semitones, and seconds into a note until it has set in."""
GLIDE, ATTACK, RELEASE = 0.05, 0.03, 0.06
"""Seconds."""
SEPARATION = 0.07
"""Seconds of closed lips before the next note, so that a repeated note is heard twice."""


def hum(melody: Notes) -> bytes:
    """A WAV file of these notes, hummed.

    Args:
        melody: [n] one note at a time, sorted by onset, n > 0.
    """
    time = np.arange(int((end(melody) + 0.5) * RATE)) / RATE
    which = np.maximum(
        np.searchsorted(melody["onset"], time, side="right") - 1, 0
    )  # the note that sounds, or did
    since = time - melody["onset"][which]
    left = _stops(melody)[which] - time
    pitch = _smooth(melody["pitch"][which].astype(float), GLIDE)
    pitch += DEPTH * np.minimum(since / SETS_IN, 1) ** 2 * np.sin(2 * np.pi * VIBRATO * since)
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((pitch - 69) / 12)) / RATE
    tone = sum((np.sin(k * phase) / k**1.5 for k in range(1, 9)), np.zeros(len(time)))
    opened = np.clip(since / ATTACK, 0, 1) * np.clip(left / RELEASE, 0, 1)
    noise = np.random.default_rng(0).normal(size=len(time))
    breath = _smooth(((left < -0.02) & (left > -0.12)).astype(float), 0.04) * 0.004
    sound = 0.25 * opened * tone * melody["velocity"][which] / 90 + (breath + 0.0005) * noise
    import soundfile

    buffer = io.BytesIO()
    samples = np.rint(np.clip(sound, -1, 1) * 32_767).astype(np.int16)
    soundfile.write(buffer, samples, RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _stops(melody: Notes) -> Floats:
    """[n] when each note ends, at the latest a moment before the next one."""
    following = np.append(melody["onset"][1:], np.inf) - SEPARATION
    return np.minimum(melody["onset"] + melody["duration"], following)


def _smooth(values: Floats, seconds: float) -> Floats:
    """A moving average: the same number of values, edges held."""
    width = 2 * int(seconds * RATE / 2) + 1
    sums = np.cumsum(np.insert(np.pad(values, width // 2, mode="edge"), 0, 0))
    return (sums[width:] - sums[:-width]) / width
