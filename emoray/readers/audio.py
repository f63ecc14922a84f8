"""Recordings: a sung, hummed or played melody to notes.

Conventions
-----------
One melody line: of several voices at once only one is heard. Anything that libsndfile decodes (WAV, FLAC,
OGG, MP3, AIFF ...) is mixed to one channel at ``RATE``. Of a recording longer than ``audio_seconds`` its end
counts, because a seed goes on where it ends. Times count from the start of what is heard. Pitches are
rounded to whole semitones in the performer's own tuning, if she keeps one. A recording is decoded and
tracked (``pitch.py``) in pieces, so memory grows only with its seconds at ``RATE``. The same bytes give the
same notes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from emoray.config import Limits
from emoray.errors import AudioError
from emoray.notes import Floats, Notes, as_notes
from emoray.readers import melody
from emoray.readers.melody import FRAME, Flags
from emoray.readers.pyin import HOP, RATE, Samples, follow

PIECE, CONTEXT = 3000, 100
"""Frames tracked at a time, and frames beside them that only inform the track."""
STEADY = 0.5
"""Least share of steady pitch in a melody; see ``melody.steadiness``."""
SILENT = -60.0
"""dB below full scale: a recording whose loud frames are below this is silent."""
FORMATS = "WAV, FLAC, OGG or MP3"


def read_audio(data: bytes, *, subject: object = "recording", limits: Limits = Limits()) -> Notes:  # noqa: B008
    """The melody of a recording.

    Args:
        data: a file in any format of libsndfile.
        subject: what to blame in the error, usually a path.
        limits: more than ``audio_bytes`` are refused, the last ``audio_seconds`` are heard.

    Returns:
        [n] of dtype ``NOTE``, n >= 1, one note at a time; velocity follows the loudness of each note.

    Raises:
        AudioError: not a recording, too large, silent, or without a melody (speech, noise).
    """
    samples = decode(data, subject=subject, limits=limits)
    loudness = levels(samples)
    if not len(samples) or np.percentile(loudness, 95) < SILENT:
        raise AudioError(subject, "is silent; record again, closer to the microphone")
    pitch, voiced = track(samples)
    voiced &= melody.audible(loudness)
    pitch = melody.unslipped(pitch)
    steady = melody.steadiness(pitch, voiced)
    if steady < STEADY:
        raise AudioError(
            subject,
            f"holds no melody: {steady:.0%} of its voice keeps a pitch, a melody keeps {STEADY:.0%}; sing or "
            "hum long vowels, or play one note at a time, without speech or accompaniment",
        )
    return _notes(melody.segments(pitch, voiced, loudness), subject)


def decode(data: bytes, *, subject: object = "recording", limits: Limits = Limits()) -> Samples:  # noqa: B008
    """[samples] one channel at ``RATE``, full scale 1. The header is judged before anything is decoded.

    Raises:
        AudioError: see ``read_audio``.
    """
    import soundfile

    if len(data) > limits.audio_bytes:
        raise AudioError(
            subject, f"is larger than {limits.audio_bytes:,} bytes; cut it or convert it to FLAC"
        )
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _refuse(file, subject)
            blocks = [np.empty(0, np.float32), *_resampled(file, limits.audio_seconds)]
    except (soundfile.SoundFileError, TypeError, ValueError) as err:  # no header; a lie
        reason = "is neither MIDI nor a recording that can be decoded"  # the library's words hold addresses
        raise AudioError(subject, f"{reason}; convert it to {FORMATS}") from err
    samples = np.concatenate(blocks)
    if not np.isfinite(samples).all():
        raise AudioError(subject, f"holds samples that are not numbers; export it again as {FORMATS}")
    return samples


def levels(samples: Samples) -> Floats:
    """[t] loudness of each frame in dB of full scale: the mean power of the 40 ms around it."""
    half = 2 * HOP
    power = np.concatenate([[0.0], np.cumsum(np.pad(samples.astype(np.float64) ** 2, half))])
    first = np.arange(len(samples) // HOP + 1) * HOP
    return 10 * np.log10(np.maximum(power[first + 2 * half] - power[first], 1e-10 * 2 * half) / (2 * half))


def track(samples: Samples) -> tuple[Floats, Flags]:
    """Follow the melody.

    Args:
        samples: [samples] one channel at ``RATE``.

    Returns:
        ([t] pitch as fractional MIDI numbers, a guess where nobody sings; [t] True where somebody does).
    """
    frames = len(samples) // HOP + 1
    pitch, voiced = np.empty(frames), np.empty(frames, bool)
    for start in range(0, frames, PIECE):
        before = min(start, CONTEXT)
        stop = min(start + PIECE, frames)
        found = follow(samples[(start - before) * HOP : (stop + CONTEXT) * HOP])
        pitch[start:stop], voiced[start:stop] = (track[before : before + stop - start] for track in found)
    return pitch, voiced


def _notes(found: list[melody.Segment], subject: object) -> Notes:
    if not found:
        raise AudioError(subject, "holds no melody: no note is long enough; sing or play slower")
    level = np.array([note.level for note in found])
    return as_notes(
        [note.first * FRAME for note in found],
        [(note.last - note.first) * FRAME for note in found],
        np.rint(np.array([note.pitch for note in found]) - melody.tuning(found)),
        np.clip(np.rint(72 + 1.5 * (level - np.median(level))), 30, 110),  # 72: a middling touch
        subject=subject,
    )


def _refuse(file: Any, subject: object) -> None:
    if not 4_000 <= file.samplerate <= 384_000:
        raise AudioError(subject, f"has {file.samplerate} samples a second; record with 16000 to 48000")


def _resampled(file: Any, last: float) -> Iterator[Samples]:
    """The last so many seconds of a file; what comes before is never decoded."""
    import soxr  # type: ignore[import-untyped]  # librosa brings it

    stream = soxr.ResampleStream(file.samplerate, RATE, 1, dtype="float32")
    size = max(2**20 // file.channels, 1)
    first = max(0, file.frames - round(last * file.samplerate))
    if first:
        file.seek(first)
    for start in range(first, file.frames, size):  # by the header, so a file that lies cannot run on
        block = file.read(size, dtype="float32", always_2d=True).mean(axis=1)
        yield stream.resample_chunk(block, last=start + size >= file.frames)
