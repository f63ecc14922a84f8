"""A seed is what its bytes say, whatever its name."""

import struct

import numpy as np
import pytest

from emoray.errors import AudioError, MidiError, RequestError
from emoray.notes import as_notes
from emoray.readers import seed
from emoray.readers.seed import read_seed
from emoray.writers.midi import midi_bytes

NOTES = as_notes([0, 0.5, 1], [0.4, 0.4, 0.4], [60, 64, 67], [80, 80, 80])


def test_midi_is_read_as_midi():
    np.testing.assert_array_equal(read_seed(midi_bytes(NOTES))["pitch"], NOTES["pitch"])


def test_midi_in_a_riff_wrapper_is_read_as_midi():
    midi = midi_bytes(NOTES)
    inside = b"RMIDdata" + struct.pack("<I", len(midi)) + midi
    wrapped = b"RIFF" + struct.pack("<I", len(inside)) + inside
    np.testing.assert_array_equal(read_seed(wrapped)["pitch"], NOTES["pitch"])


def test_anything_else_is_read_as_a_recording(monkeypatch):
    monkeypatch.setattr(seed, "read_audio", lambda data, *, subject, limits: (data, subject))
    assert read_seed(b"RIFF....WAVE", subject="hum.wav") == (b"RIFF....WAVE", "hum.wav")


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (b"", RequestError, "seed: is empty; give a MIDI file or a recording"),
        (b"MThd\x00\x00", MidiError, "seed: "),
        (b"a text file", AudioError, "seed: is neither MIDI nor a recording"),
    ],
)
def test_each_bad_seed_is_one_clear_error(data, error, match):
    with pytest.raises(error, match=match):
        read_seed(data)
