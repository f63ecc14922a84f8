"""Damaged MIDI: files cut at any place, or sent as text, give notes or an error of ours and never a crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emoray.demo.pieces import pieces
from emoray.errors import MidiError
from emoray.readers.midi import read_midi
from emoray.writers.midi import midi_bytes

MAESTRO = Path(__file__).parents[4] / "shared" / "data" / "maestro-v2"


def assert_survives(data: bytes, generator: np.random.Generator) -> None:
    """A cut file lacks the end of its track, so it is always refused; line ends may fall on nothing."""
    with pytest.raises(MidiError, match=r"copy or export it again|no MThd|is empty|holds no notes"):
        read_midi(data[: generator.integers(len(data))])
    as_text = data.replace(b"\n", b"\r\n")
    if as_text != data:
        with pytest.raises(MidiError, match="copy or export it again"):
            read_midi(as_text)


@pytest.mark.parametrize("piece", pieces(), ids=lambda piece: piece.name)
def test_demo_pieces_cut_short_or_sent_as_text_are_refused(piece):
    generator = np.random.default_rng(len(piece.notes))
    data = midi_bytes(piece.notes)
    for _ in range(20):
        assert_survives(data, generator)


@pytest.mark.skipif(not MAESTRO.is_dir(), reason="the MAESTRO files are not here")
def test_real_performances_cut_short_or_sent_as_text_are_refused():
    generator = np.random.default_rng(0)
    for path in sorted(MAESTRO.glob("*/*.midi"))[::40]:
        assert_survives(path.read_bytes(), generator)
