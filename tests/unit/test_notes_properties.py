"""The door into note arrays: any numbers give valid notes or one of our errors."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emoray.errors import MidiError
from emoray.notes import NOTE, as_notes, end, starting_at, steps

ANY = st.floats()
LONG = st.floats(0, 1e300)
ROW = st.tuples(LONG, LONG, st.integers(0, 127), st.integers(1, 127)) | st.tuples(ANY, ANY, ANY, ANY)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(ROW, max_size=4))
def test_any_numbers_give_finite_sorted_notes_or_an_error_of_ours(rows):
    try:
        notes = as_notes(*zip(*rows, strict=True)) if rows else as_notes([], [], [], [])
    except MidiError:
        return
    assert notes.dtype == NOTE
    assert len(notes) == len(rows)
    assert np.isfinite(notes["onset"]).all()
    assert np.isfinite(notes["duration"]).all()
    assert (notes["duration"] > 0).all()
    assert (steps(notes) >= 0).all()
    assert end(notes) >= 0
    assert len(starting_at(notes, 1.0)) == len(notes)
