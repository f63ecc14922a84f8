"""Recordings: a sung, hummed or played melody to notes.

Conventions
-----------
The reader transcribes one melody line: of several voices at once it follows one. soundfile decodes the file
(WAV, FLAC, OGG, MP3, AIFF ...), soxr resamples it to one channel at ``SAMPLE_RATE``. Of a recording longer
than ``audio_seconds`` the last part is read, because a composition continues where its seed ends; onsets
count from the start of that part. Pitches are rounded to whole semitones in the performer's own tuning, if
the performer keeps one. Decoding and pitch tracking work block by block, so memory grows only with the
seconds of audio at ``SAMPLE_RATE``. The same bytes give the same notes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from emoray.config import Limits
from emoray.errors import AudioError, ConfigError
from emoray.notes import Floats, Notes, as_notes
from emoray.readers import melody
from emoray.readers.melody import FRAME, Flags
from emoray.readers.pyin import HOP_SAMPLES, SAMPLE_RATE, Samples, librosa_pyin, pyin

TRACKERS = {"pyin": pyin, "librosa": librosa_pyin}
"""Pitch trackers by name. They find the same pitches; librosa's is the reference and ten times as slow."""
BLOCK_FRAMES, CONTEXT_FRAMES = 3000, 100
"""Frames of a block, and frames on each side of it that the tracker sees as context."""
LEAST_STEADINESS = 0.5
"""A recording below it holds no melody; see ``melody.steadiness``."""
SILENCE_LEVEL = -60.0
"""dB of full scale: a recording is silent if 95 % of its frames lie below."""
AUDIO_FORMATS = "WAV, FLAC, OGG or MP3"


def read_audio(
    data: bytes,
    *,
    subject: object = "recording",
    limits: Limits = Limits(),  # noqa: B008 frozen
    tracker: str = "pyin",
) -> Notes:
    """Transcribe the melody of a recording.

    Args:
        data: a file in any format of libsndfile.
        subject: the name in error messages, usually a path.
        limits: a file of more than ``audio_bytes`` is refused, and its last ``audio_seconds`` are read.
        tracker: one of ``TRACKERS``.

    Returns:
        [n] notes, n >= 1, one at a time; the velocity follows the loudness of each note.

    Raises:
        AudioError: the data is no recording, too large, silent, or holds no melody (speech, noise).
        ConfigError: the tracker is unknown.

    >>> import io, soundfile
    >>> time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    >>> hum = 0.1 * np.sin(2 * np.pi * np.where(time < 0.5, 220, 246.94) * time)
    >>> file = io.BytesIO()
    >>> soundfile.write(file, hum, SAMPLE_RATE, format="WAV")
    >>> read_audio(file.getvalue())["pitch"].tolist()
    [57, 59]
    """
    if tracker not in TRACKERS:
        raise ConfigError("tracker", f"{tracker!r} is unknown; choose {' or '.join(TRACKERS)}")
    samples = decode_audio(data, subject=subject, limits=limits)
    loudness = frame_loudness(samples)
    if not len(samples) or np.percentile(loudness, 95) < SILENCE_LEVEL:
        raise AudioError(subject, "is silent; record again, closer to the microphone")
    pitch, voiced = track(samples, tracker)
    voiced &= melody.active_frames(loudness)
    pitch = melody.without_octave_errors(pitch)
    steady = melody.steadiness(pitch, voiced)
    if steady < LEAST_STEADINESS:
        raise AudioError(
            subject,
            f"holds no melody: {steady:.0%} of its voice keeps a pitch, a melody keeps "
            f"{LEAST_STEADINESS:.0%}; sing or hum long vowels, or play one note at a time, without speech or "
            "accompaniment",
        )
    return _notes(melody.segments(pitch, voiced, loudness), subject)


def decode_audio(
    data: bytes,
    *,
    subject: object = "recording",
    limits: Limits = Limits(),  # noqa: B008 frozen
) -> Samples:
    """Decode a recording to [samples], one channel at ``SAMPLE_RATE``, full scale 1.

    The header is checked before anything is decoded.

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
            _check_rate(file, subject)
            blocks = [np.empty(0, np.float32), *_resampled(file, limits.audio_seconds)]
    except (soundfile.SoundFileError, TypeError, ValueError) as err:  # no header, or a false one
        reason = (
            "is neither MIDI nor a recording that can be decoded"  # the library's message holds addresses
        )
        raise AudioError(subject, f"{reason}; convert it to {AUDIO_FORMATS}") from err
    samples = np.concatenate(blocks)
    if not np.isfinite(samples).all():
        raise AudioError(subject, f"holds samples that are not numbers; export it again as {AUDIO_FORMATS}")
    return samples


def frame_loudness(samples: Samples) -> Floats:
    """[t] loudness of each frame in dB of full scale: the mean power of the 40 ms around it."""
    half = 2 * HOP_SAMPLES
    power = np.concatenate([[0.0], np.cumsum(np.pad(samples.astype(np.float64) ** 2, half))])
    first = np.arange(len(samples) // HOP_SAMPLES + 1) * HOP_SAMPLES
    return 10 * np.log10(np.maximum(power[first + 2 * half] - power[first], 1e-10 * 2 * half) / (2 * half))


def track(samples: Samples, tracker: str = "pyin") -> tuple[Floats, Flags]:
    """Track the pitch block by block.

    Args:
        samples: [samples] one channel at ``SAMPLE_RATE``.
        tracker: one of ``TRACKERS``.

    Returns:
        ([t] pitch as fractional MIDI numbers, a guess in unvoiced frames; [t] True in voiced frames).
    """
    frames = len(samples) // HOP_SAMPLES + 1
    pitch, voiced = np.empty(frames), np.empty(frames, bool)
    for start in range(0, frames, BLOCK_FRAMES):
        before = min(start, CONTEXT_FRAMES)
        stop = min(start + BLOCK_FRAMES, frames)
        found = TRACKERS[tracker](
            samples[(start - before) * HOP_SAMPLES : (stop + CONTEXT_FRAMES) * HOP_SAMPLES]
        )
        pitch[start:stop], voiced[start:stop] = (values[before : before + stop - start] for values in found)
    return pitch, voiced


def _notes(found: list[melody.Segment], subject: object) -> Notes:
    if not found:
        raise AudioError(subject, "holds no melody: no note is long enough; sing or play slower")
    level = np.array([note.level for note in found])
    return as_notes(
        [note.first * FRAME for note in found],
        [(note.last - note.first) * FRAME for note in found],
        np.rint(np.array([note.pitch for note in found]) - melody.tuning(found)),
        np.clip(np.rint(72 + 1.5 * (level - np.median(level))), 30, 110),  # 72 is a medium velocity
        subject=subject,
    )


def _check_rate(file: Any, subject: object) -> None:
    if not 4_000 <= file.samplerate <= 384_000:
        raise AudioError(subject, f"has {file.samplerate} samples a second; record with 16000 to 48000")


def _resampled(file: Any, last: float) -> Iterator[Samples]:
    """The last ``last`` seconds of a file, block by block; the part before is not decoded."""
    import soxr  # type: ignore[import-untyped]  # the resampler behind librosa; only it takes a stream

    stream = soxr.ResampleStream(file.samplerate, SAMPLE_RATE, 1, dtype="float32")
    size = max(2**20 // file.channels, 1)
    first = max(0, file.frames - round(last * file.samplerate))
    if first:
        file.seek(first)
    for start in range(first, file.frames, size):  # by the header, so that a file with a false header ends
        block = file.read(size, dtype="float32", always_2d=True).mean(axis=1)
        yield stream.resample_chunk(block, last=start + size >= file.frames)
