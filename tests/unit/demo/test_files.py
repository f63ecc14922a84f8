"""The embedded demo: pieces that are music, and input that every reader takes."""

import csv
import json
from collections import Counter

import numpy as np
import pytest

from emoray.demo.files import HUMMED, HUMMED_SECONDS, manifest, opening, write_demo
from emoray.demo.hum import hum
from emoray.demo.pieces import pieces
from emoray.notes import HIGHEST_KEY, LOWEST_KEY, as_notes
from emoray.readers.annotations import read_labels, read_metadata
from emoray.readers.audio import read_audio
from emoray.readers.midi import read_midi

PIECES = {piece.name: piece for piece in pieces()}


@pytest.mark.parametrize("name", PIECES)
def test_each_piece_is_long_enough_and_on_the_keyboard(name):
    notes = PIECES[name].notes
    assert len(notes) >= 100
    assert notes["pitch"].min() >= LOWEST_KEY
    assert notes["pitch"].max() <= HIGHEST_KEY
    assert PIECES[name].year < 1928
    assert set(PIECES[name].melody["pitch"]) <= set(notes["pitch"])


def test_there_are_a_dozen_pieces_of_both_kinds_in_every_split():
    assert len(PIECES) >= 12
    assert min(Counter(piece.valence for piece in PIECES.values()).values()) >= 6
    assert min(Counter(piece.arousal for piece in PIECES.values()).values()) >= 6
    splits = Counter((piece.split, piece.valence) for piece in PIECES.values())
    assert all(splits[split, valence] for split in ("train", "validation", "test") for valence in (-1, 1))


def test_well_known_openings_are_what_everybody_knows():
    assert PIECES["ode_to_joy"].melody["pitch"][:8].tolist() == [64, 64, 65, 67, 67, 65, 64, 62]
    assert PIECES["twinkle"].melody["pitch"][:7].tolist() == [72, 72, 79, 79, 81, 81, 79]
    assert PIECES["fur_elise"].melody["pitch"][:9].tolist() == [76, 75, 76, 75, 76, 71, 74, 72, 69]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("demo"))


def test_the_files_are_read_by_their_readers(written):
    assert {path.stem for path in written.midi.iterdir()} == PIECES.keys()
    for path in written.midi.iterdir():
        notes = read_midi(path.read_bytes())
        assert notes["pitch"].tolist() == PIECES[path.stem].notes["pitch"].tolist()
    known = read_metadata(written.metadata)
    assert known.keys() == {f"{name}.mid" for name in PIECES}
    assert known["ode_to_joy.mid"].composer == "Ludwig van Beethoven"
    labels = read_labels(written.labels)
    assert all(label.path.is_file() for label in labels)
    assert len(labels) == len(PIECES)


def test_the_metadata_has_the_columns_of_maestro(written):
    with written.metadata.open(newline="") as file:
        columns = next(csv.reader(file))
    assert columns == [
        "canonical_composer",
        "canonical_title",
        "split",
        "year",
        "midi_filename",
        "audio_filename",
        "duration",
    ]


def test_every_row_of_the_manifest_finds_its_files(written):
    rows = [json.loads(line) for line in written.manifest.read_text().splitlines()]
    assert 8 <= len(rows) <= 10
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert (written.manifest.parent / row["seed"]).is_file()
        assert "image" not in row or (written.manifest.parent / row["image"]).is_file()
    kinds = {type(row["emotion"]) for row in rows}
    assert kinds == {str, float}
    assert any("image" in row and "emotion" in row for row in rows)


def test_without_a_photograph_the_row_keeps_its_emotion():
    assert not any("image" in row for row in manifest(with_picture=False))
    assert all("emotion" in row for row in manifest(with_picture=False))


def test_the_hummed_seed_is_transcribed_as_it_was_hummed(written):
    melody = opening(PIECES[HUMMED].melody, HUMMED_SECONDS)
    heard = read_audio(written.hummed.read_bytes())
    assert heard["pitch"].tolist() == melody["pitch"].tolist()
    np.testing.assert_allclose(heard["onset"], melody["onset"], atol=0.06)


def test_a_hum_is_the_same_each_time():
    melody = as_notes([0, 1], [1, 1], [60, 62], [80, 80])
    assert hum(melody) == hum(melody)


def test_writing_twice_gives_the_same_bytes(written, tmp_path):
    again = write_demo(tmp_path)
    for path in sorted(written.manifest.parent.rglob("*.*")):
        assert path.read_bytes() == (tmp_path / path.relative_to(written.manifest.parent)).read_bytes(), path
    assert again.manifest == tmp_path / "manifest.jsonl"
