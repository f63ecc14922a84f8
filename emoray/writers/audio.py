"""Audio: a note array as a WAV or MP3 file, played by a sampled piano.

Conventions
-----------
The file is stereo, 16 bit in a WAV; soundfile writes it. The piano is the General MIDI SoundFont TimGM6mb
that ships inside pretty_midi, the synthesiser is TinySoundFont, which needs no system library and no sound
card. It plays the notes as ``writers.midi`` writes them and rings on for ``TAIL`` seconds. Music that would
clip is rendered again at a lower level. Rendering works block by block, so an hour of music needs little more
memory than its file. The same notes give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import numpy as np

from emoray.errors import AudioError
from emoray.notes import Notes, end
from emoray.writers.midi import TICKS_PER_SECOND, ticks

TAIL = 1.5
"""Seconds of audio after the last note."""
GAIN = 6.0
"""dB, with which a loud chord reaches a third of full scale."""
BLOCK_SAMPLES = 2**16
MAX_WAV_BYTES = 2**32 - 2**16
"""A WAV file counts its bytes with 32 bits."""


def wav_bytes(notes: Notes, *, rate: int = 44_100) -> bytes:
    """Render notes as a WAV file.

    Args:
        notes: [n] sorted by (onset, pitch); n may be 0.
        rate: samples a second.

    Raises:
        AudioError: the synthesiser is not installed, or the music is longer than a WAV file can be (6 hours).
    """
    seconds = end(notes) + TAIL
    if seconds * rate * 4 > MAX_WAV_BYTES:
        raise AudioError("music", f"lasts {seconds:,.0f} s, too long for a WAV file; render a part of it")
    data, peak = _render(notes, rate, level=1.0)
    return data if peak <= 1 else _render(notes, rate, level=1 / peak)[0]


def mp3_bytes(notes: Notes, *, rate: int = 32_000) -> bytes:
    """The notes as an MP3 file, mono: a twentieth of a WAV file, for pages and notebooks.

    Args:
        notes: [n] sorted by (onset, pitch); n may be 0.
        rate: samples a second, one that MP3 has.

    Raises:
        AudioError: the synthesiser is not installed, or the music is longer than a WAV file can be.
    """
    import soundfile

    wav, _ = soundfile.read(io.BytesIO(wav_bytes(notes, rate=rate)), dtype="float32", always_2d=True)
    buffer = io.BytesIO()
    soundfile.write(buffer, wav.mean(axis=1), rate, format="MP3")
    return buffer.getvalue()


def _render(notes: Notes, rate: int, *, level: float) -> tuple[bytes, float]:
    """The file, and its highest sample before rounding, which is above 1 if the file clips."""
    import soundfile

    buffer, peak = io.BytesIO(), 0.0
    with soundfile.SoundFile(buffer, "w", rate, channels=2, format="WAV", subtype="PCM_16") as file:
        for block in _blocks(notes, rate):
            block *= level
            peak = max(peak, float(np.abs(block).max()))
            file.write(np.rint(np.clip(block, -1, 1) * 32_767).astype(np.int16).reshape(-1, 2))
    return buffer.getvalue(), peak


def _blocks(notes: Notes, rate: int) -> Iterator[Any]:
    """Float32 samples, left and right in turn, block by block, from the first note to the end of the tail."""
    synth = _piano(rate)
    now = 0
    for sample, key, velocity in [*_keys(notes, rate), (None, 0, 0)]:
        stop = now + round(TAIL * rate) if sample is None else sample
        if stop * 4 > MAX_WAV_BYTES:
            raise AudioError(
                "music", f"lasts {stop / rate:,.0f} s, too long for a WAV file; render a part of it"
            )
        for start in range(now, stop, BLOCK_SAMPLES):
            block = synth.generate(min(BLOCK_SAMPLES, stop - start))
            yield np.frombuffer(block, np.float32).copy()
        now = stop
        if velocity:
            synth.noteon(0, key, velocity)
        elif sample is not None:
            synth.noteoff(0, key)


def _keys(notes: Notes, rate: int) -> list[tuple[int, int, int]]:
    """(sample, pitch, velocity) in order of time; a note-off has velocity 0 and comes before note-ons."""
    down, up = ticks(notes)
    events = [*zip(down.tolist(), notes["pitch"].tolist(), notes["velocity"].tolist(), strict=True)]
    events += [(tick, key, 0) for tick, key in zip(up.tolist(), notes["pitch"].tolist(), strict=True)]
    events.sort(key=lambda event: (event[0], event[2] > 0))
    return [(tick * rate // TICKS_PER_SECOND, key, velocity) for tick, key, velocity in events]


def _piano(rate: int) -> Any:
    try:
        import tinysoundfont
    except ImportError as err:
        how = "pip install --no-deps tinysoundfont"  # its dependency pyaudio needs a sound library
        raise AudioError("sound", f"needs the package tinysoundfont; run `{how}`") from err
    soundfont = files("pretty_midi") / "TimGM6mb.sf2"
    synth = tinysoundfont.Synth(gain=GAIN, samplerate=rate)
    synth.sfload(soundfont.read_bytes())
    synth.program_change(0, 0)
    return synth
