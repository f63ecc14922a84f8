"""The examples run: the notebook's cells one after the other, and every row of the manifest."""

import json
import shutil
from pathlib import Path

import pytest

from emoray.config import Limits
from emoray.demo.files import opening
from emoray.demo.pieces import pieces
from emoray.readers.manifest import read_files, read_manifest
from emoray.readers.midi import read_midi
from emoray.request import GenerationRequest
from emoray.storage import storage_path
from emoray.writers.midi import midi_bytes

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = json.loads((EXAMPLES / "emoray.ipynb").read_text())
SEEDS = sorted((EXAMPLES / "seeds").iterdir())


def test_the_notebook_is_of_the_format_and_holds_no_outputs():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in NOTEBOOK["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.checkpoint
def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path, monkeypatch, capsys):
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    for file in ("happy.mid", "happy.wav", "happy.png"):
        assert (tmp_path / file).stat().st_size > 100
    said = capsys.readouterr().out
    assert "seeds/none.mid: cannot be read" in said
    assert said.count("Piece(") == 6


def test_every_row_of_the_manifest_can_be_answered():
    rows = read_manifest((EXAMPLES / "manifest.jsonl").read_bytes(), name="manifest.jsonl")
    assert len(rows) == 6
    for row in rows:
        assert isinstance(row, GenerationRequest), row
        assert len(read_files(row, storage_path(EXAMPLES), Limits()).seed.content) > 100


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_the_seeds_are_openings_of_embedded_pieces(path):
    [notes] = [piece.notes for piece in pieces() if piece.name == path.stem]
    assert path.read_bytes() == midi_bytes(opening(notes, 8.0))
    assert len(read_midi(path.read_bytes())) > 10
