"""Windows of any pieces: what goes in comes back, and none crosses from one piece into the next."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emoray.dataset.attributes import attributes_ahead
from emoray.dataset.windows import decode, encode, flatten, window_starts, windows_at
from emoray.notes import as_notes

NOTES = st.lists(
    st.tuples(st.floats(0, 4), st.floats(0.01, 9), st.integers(0, 127), st.integers(1, 127)), max_size=30
)


def piece(rows):
    step, *columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    return as_notes(np.cumsum(step), *columns)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(NOTES)
def test_decode_undoes_encode_for_any_piece(rows):
    notes = piece(rows)
    twin = decode(encode(notes), velocity=1)
    np.testing.assert_array_equal(twin["pitch"][np.lexsort((twin["pitch"], twin["onset"]))], twin["pitch"])
    assert sorted(twin["pitch"]) == sorted(notes["pitch"])
    first = notes["onset"][0] if len(notes) else 0
    np.testing.assert_allclose(twin["onset"], notes["onset"] - first, atol=1e-4)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 12), max_size=8), st.integers(1, 6))
def test_a_window_lies_in_one_piece_and_none_is_left_out(lengths, window):
    """Each piece is of one pitch of its own."""
    pieces = [piece([(0.25, 0.5, 30 + number, 64)] * length) for number, length in enumerate(lengths)]
    table, found = flatten(pieces)
    x, y = windows_at(table, window_starts(found, window), window)
    assert len(x) == sum(max(0, length - window) for length in lengths)
    np.testing.assert_array_equal(x[:, :, 0], np.repeat(y[:, None, 0], window, axis=1))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(NOTES, st.integers(1, 40))
def test_attributes_of_any_piece_are_finite_and_a_profile_adds_up(rows, lookahead):
    found = attributes_ahead(piece(rows), lookahead)
    assert found.shape == (len(rows), 16)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, :12].sum(axis=1), 0, atol=1e-3)
    assert (np.abs(found[:, 12:]) <= 4).all()
