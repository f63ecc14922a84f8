"""A piece is written as its suffix says, and its page needs no network."""

import re
import sys

import numpy as np
import pytest

from emoray.errors import ConfigError, RequestError
from emoray.notes import as_notes
from emoray.piece import FORMATS, Piece
from emoray.recognition import read_notes

SCALE = as_notes(np.arange(8) / 4, [0.25] * 8, 60 + np.arange(8), [80] * 8)
PIECE = Piece(notes=SCALE, seed_notes=3, name="<scale>", emotion_used=0.5)
MAGIC = {".mid": b"MThd", ".midi": b"MThd", ".wav": b"RIFF", ".png": b"\x89PNG", ".mp3": b"\xff"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_suffix_says_what_is_written_whatever_its_case(tmp_path, suffix):
    PIECE.save(tmp_path / "new" / f"scale{suffix.upper()}")
    assert (tmp_path / "new" / f"scale{suffix.upper()}").read_bytes().startswith(MAGIC[suffix])


@pytest.mark.parametrize("name", ["scale.docx", "scale", "mid"])
def test_another_suffix_is_refused_and_nothing_is_written(tmp_path, name):
    with pytest.raises(RequestError, match=r"has no suffix of \.mid, .*; choose one of them"):
        PIECE.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_an_error_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        PIECE.save(tmp_path / "file" / "a.mid")


def test_a_uri_is_a_place_and_no_local_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PIECE.save(f"file://{tmp_path}/there/a.mid")
    assert len(read_notes(f"file://{tmp_path}/there/a.mid")) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_the_page_holds_picture_and_sound_and_names_no_other_host():
    page = PIECE._repr_html_()
    assert re.findall(r'src="(data:[a-z/]+);', page) == ["data:image/png", "data:audio/mpeg"]
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert "<scale>" not in page


def test_outside_a_notebook_the_page_is_given_to_the_browser(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setitem(sys.modules, "IPython", None)
    page = PIECE.show()
    assert opened == [page.as_uri()]
    assert page.read_text().startswith("<!doctype html>")


def test_a_piece_says_what_it_is():
    assert repr(PIECE) == "Piece('<scale>': 3 seed notes, 5 composed, happy, 2.0 s)"
    assert len(PIECE.composed) == 5
    assert Piece(notes=SCALE).label is None
