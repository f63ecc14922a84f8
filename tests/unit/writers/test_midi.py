"""What is written can be read again: by pretty_midi and by symusic, note for note."""

import io

import numpy as np
import pretty_midi
import pytest
import symusic
from hypothesis import given, settings
from hypothesis import strategies as st

from emoray.notes import NOTE, SHORTEST, as_notes
from emoray.writers.midi import midi_bytes, ticks

times = st.floats(0, 20, allow_nan=False) | st.integers(0, 40).map(lambda i: i / 4)
lengths = st.floats(1e-4, 5, allow_nan=False)
rows = st.lists(st.tuples(times, lengths, st.integers(0, 127) | st.integers(60, 63), st.integers(1, 127)))


def table(rows):
    return as_notes(*(np.array(rows, dtype=float).reshape(-1, 4).T))


def read_by_pretty_midi(data):
    (track,) = pretty_midi.PrettyMIDI(io.BytesIO(data)).instruments or [pretty_midi.Instrument(0)]
    assert (track.program, track.is_drum) == (0, False)
    return as_notes(
        *zip(*((n.start, n.end - n.start, n.pitch, n.velocity) for n in track.notes), strict=True)
    )


def read_by_symusic(data):
    tracks = symusic.Score.from_midi(data).to("second").tracks
    return as_notes(
        *zip(*((n.start, n.duration, n.pitch, n.velocity) for t in tracks for n in t.notes), strict=True)
    )


@settings(max_examples=150, deadline=None)
@given(rows.filter(len))
def test_every_note_written_is_read_again_in_its_order(rows):
    notes = table(rows)
    data = midi_bytes(notes)
    for twin in (read_by_pretty_midi(data), read_by_symusic(data)):
        np.testing.assert_array_equal(twin[["pitch", "velocity"]], notes[["pitch", "velocity"]])
        assert (np.diff(twin["onset"]) >= 0).all()
        assert (twin["duration"] > SHORTEST - 1e-4).all()


@settings(max_examples=150, deadline=None)
@given(rows)
def test_notes_of_one_pitch_never_overlap(rows):
    notes = table(rows)
    start, stop = ticks(notes)
    for pitch in set(notes["pitch"].tolist()):
        mine = notes["pitch"] == pitch
        assert (start[mine][1:] >= stop[mine][:-1]).all()


def test_times_come_back_within_a_millisecond():
    rng = np.random.default_rng(0)
    onset = np.arange(2000) * 0.05 + rng.uniform(0, 0.02, 2000)
    notes = as_notes(onset, rng.uniform(0.01, 0.05, 2000), 20 + np.arange(2000) % 100, np.full(2000, 80))
    twin = read_by_pretty_midi(midi_bytes(notes))
    np.testing.assert_allclose(twin["onset"], notes["onset"], atol=6e-4)
    np.testing.assert_allclose(twin["duration"], notes["duration"], atol=1.1e-3)


def test_a_held_note_ends_where_its_repeat_starts():
    twin = read_by_symusic(midi_bytes(as_notes([0, 1], [3, 3], [60, 60], [80, 90])))
    assert twin["onset"].tolist() == [0, 1]
    assert twin["duration"].tolist() == [1, 3]


def test_a_unison_is_struck_twice_and_not_swallowed():
    twin = read_by_symusic(midi_bytes(as_notes([1, 1], [2, 2], [60, 60], [80, 90])))
    np.testing.assert_allclose(twin["onset"], [1, 1 + SHORTEST], atol=1e-6)


def test_the_last_second_of_an_hour_is_as_exact_as_the_first():
    twin = read_by_pretty_midi(midi_bytes(as_notes([0, 3599.4567], [0.5, 0.5], [60, 62], [1, 127])))
    assert twin["onset"][1] == pytest.approx(3599.457, abs=1e-6)


def test_the_same_notes_give_the_same_bytes():
    notes = as_notes([0, 0.3], [1, 1], [60, 64], [80, 80])
    assert midi_bytes(notes) == midi_bytes(notes.copy())


def test_no_notes_are_a_file_without_notes():
    assert symusic.Score.from_midi(midi_bytes(np.empty(0, NOTE))).note_num() == 0
