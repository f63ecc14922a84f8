import numpy as np

from emoray.dataset.windows import decode, encode, flatten, window_starts, windows_at
from emoray.notes import as_notes


def piece(count, first=0.0, pitch=60):
    generator = np.random.default_rng(count)
    onset = first + np.cumsum(generator.exponential(0.2, count))
    return as_notes(
        onset, generator.uniform(0.05, 1, count), generator.integers(pitch, pitch + 20, count), [80] * count
    )


def test_model_units_by_hand():
    notes = as_notes([1.0, 1.5], [0.25, 0.5], [64, 32], [80, 80])
    assert encode(notes).tolist() == [[0.5, 0.0, 0.25], [0.25, 0.5, 0.5]]


def test_decode_undoes_encode():
    notes = piece(300)
    twin = decode(encode(notes), velocity=80)
    np.testing.assert_array_equal(twin[["pitch", "velocity"]], notes[["pitch", "velocity"]])
    np.testing.assert_allclose(twin["onset"], notes["onset"] - notes["onset"][0], atol=1e-4)
    np.testing.assert_array_equal(twin["duration"], notes["duration"])


def test_a_window_never_crosses_pieces():
    pieces = [piece(7, pitch=21), piece(3, pitch=50), piece(5, pitch=80)]
    table, lengths = flatten(pieces)
    x, y = windows_at(table, window_starts(lengths, 4), 4)
    assert len(x) == 3 + 0 + 1  # a piece of n notes has n - 4 windows with a note after them
    together = np.concatenate([x[:, :, 0], y[:, None, 0]], axis=1) * 128
    assert ((together.max(axis=1) - together.min(axis=1)) < 20).all()
    np.testing.assert_array_equal(x[1, :3], x[0, 1:])
    np.testing.assert_array_equal(y[0], x[1, 3])


def test_no_pieces_make_an_empty_table():
    table, lengths = flatten([])
    assert table.shape == (0, 3)
    assert len(window_starts(lengths, 25)) == 0
