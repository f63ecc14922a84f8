import numpy as np
import pytest

from emoray.errors import MidiError
from emoray.notes import HIGHEST_KEY, LOWEST_KEY, as_notes, end, starting_at, steps, transposed


def test_notes_come_out_sorted_by_onset_then_pitch():
    notes = as_notes([1.0, 0.0, 1.0], [1, 1, 1], [64, 60, 62], [80, 81, 82])
    assert notes["pitch"].tolist() == [60, 62, 64]
    assert notes["velocity"].tolist() == [81, 82, 80]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("onset", float("nan"), "onset is not a finite number"),
        ("onset", -0.1, "onset is outside"),
        ("duration", 0.0, "duration is outside"),
        ("pitch", 128, "pitch is outside 0..127"),
        ("velocity", 0, "velocity is outside 1..127"),
    ],
)
def test_a_bad_column_is_named_with_its_file(column, value, message):
    columns = {"onset": [0.0], "duration": [1.0], "pitch": [60], "velocity": [64]} | {column: [value]}
    with pytest.raises(MidiError, match=f"tune.mid: a note's {message}"):
        as_notes(**columns, subject="tune.mid")


def test_steps_reach_back_to_the_previous_onset():
    notes = as_notes([2.0, 2.5, 4.0], [1, 1, 1], [60, 61, 62], [64, 64, 64])
    assert steps(notes).tolist() == [0.0, 0.5, 1.5]


def test_the_end_is_where_the_last_sound_stops_and_not_the_last_onset():
    assert end(as_notes([0.0, 1.0], [5.0, 1.0], [60, 61], [64, 64])) == 5.0
    assert end(as_notes([], [], [], [])) == 0.0


def test_starting_at_moves_all_notes_alike_and_leaves_the_original():
    notes = as_notes([1.0, 3.0], [1, 1], [60, 61], [64, 64])
    assert starting_at(notes, 10.0)["onset"].tolist() == [10.0, 12.0]
    assert notes["onset"].tolist() == [1.0, 3.0]
    assert len(starting_at(notes[:0], 4.0)) == 0
    assert np.array_equal(starting_at(notes, 1.0), notes)


@pytest.mark.parametrize("semitones", [-24, -1, 1, 24])
def test_a_transposed_piece_is_on_the_piano_and_every_note_keeps_its_name(semitones):
    notes = as_notes(np.arange(128), [1.0] * 128, np.arange(128), [80] * 128)
    wanted = np.arange(128) + semitones
    pitch = transposed(notes, semitones)["pitch"].astype(int)
    on_the_piano = (wanted >= LOWEST_KEY) & (wanted <= HIGHEST_KEY)
    np.testing.assert_array_equal(pitch[on_the_piano], wanted[on_the_piano])
    np.testing.assert_array_equal(pitch % 12, wanted % 12)
    assert pitch.min() >= LOWEST_KEY
    assert pitch.max() <= HIGHEST_KEY
    assert transposed(notes, 0) is notes
