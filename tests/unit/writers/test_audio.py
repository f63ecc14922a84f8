"""The audio has the notes that were given, and never clips."""

import io
import sys

import numpy as np
import pytest
import soundfile

from emoray.errors import AudioError
from emoray.notes import NOTE, as_notes
from emoray.readers.audio import read_audio
from emoray.writers import audio
from emoray.writers.audio import TAIL, wav_bytes

SCALE = as_notes(np.arange(8) * 0.4, np.full(8, 0.35), [60, 62, 64, 65, 67, 69, 71, 72], np.full(8, 90))


def samples(data):
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert (file.channels, file.subtype) == (2, "PCM_16")
        return file.samplerate, file.read()


def test_a_scale_sounds_at_its_pitches_and_times():
    notes = read_audio(wav_bytes(SCALE))
    assert notes["pitch"].tolist() == SCALE["pitch"].tolist()
    np.testing.assert_allclose(notes["onset"], SCALE["onset"], atol=0.05)


def test_it_rings_on_and_then_is_silent():
    rate, sound = samples(wav_bytes(SCALE, rate=22_050))
    assert rate == 22_050
    assert len(sound) == pytest.approx((3.15 + TAIL) * rate, abs=10)
    assert np.abs(sound[:2000]).max() > 0.02
    assert np.abs(sound[-1000:]).max() < 0.001


def test_the_loudest_music_does_not_clip_and_quiet_music_stays_quiet():
    storm = as_notes(
        np.repeat(np.arange(20) * 0.1, 20), np.full(400, 2), np.tile(range(40, 100, 3), 20), [127] * 400
    )
    _, loud = samples(wav_bytes(storm))
    assert 0.99 < np.abs(loud).max() < 1
    assert (np.abs(loud) > 0.999).mean() < 1e-4
    _, quiet = samples(wav_bytes(as_notes([0], [1], [60], [20])))
    assert np.abs(quiet).max() < 0.1


def test_the_same_notes_give_the_same_bytes():
    assert wav_bytes(SCALE) == wav_bytes(SCALE)


def test_the_size_of_a_block_does_not_change_the_audio(monkeypatch):
    whole = wav_bytes(SCALE)
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", 64 * 100)
    _, left = samples(whole)
    _, right = samples(wav_bytes(SCALE))
    np.testing.assert_allclose(left, right, atol=1e-3)


def test_no_notes_are_a_moment_of_silence():
    _, sound = samples(wav_bytes(np.empty(0, NOTE)))
    assert not sound.any()


def test_music_beyond_what_a_wav_file_counts_is_refused():
    with pytest.raises(AudioError, match="too long for a WAV file"):
        wav_bytes(as_notes([30_000], [1], [60], [80]))


def test_a_missing_synthesiser_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    with pytest.raises(AudioError, match="pip install --no-deps tinysoundfont"):
        wav_bytes(SCALE)
