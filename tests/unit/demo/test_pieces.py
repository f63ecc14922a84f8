"""The embedded pieces as music: two hands, the key they say, and happy ones faster than sad ones."""

import re
from importlib.resources import files

import numpy as np
import pytest

from emoray.demo.pieces import pieces
from emoray.demo.score import SEMITONES
from emoray.notes import end, steps

PIECES = {piece.name: piece for piece in pieces()}
TEXTS = {name: files("emoray.demo").joinpath("scores", f"{name}.txt").read_text("utf-8") for name in PIECES}
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 9, 10, 11),  # the sixth and the seventh are at home in both their forms
    "dorian": (0, 2, 3, 5, 7, 9, 10),
}


def sounding(notes):
    """[12] seconds that each pitch class sounds."""
    return np.bincount(notes["pitch"] % 12, weights=notes["duration"], minlength=12)


def of_kind(valence):
    return [piece.notes for piece in PIECES.values() if piece.valence == valence]


@pytest.mark.parametrize("name", PIECES)
def test_the_notes_are_those_of_the_key_that_the_score_names(name):
    letter, mode = re.search(r"^key: ([A-G][#b]?) (\w+)$", TEXTS[name], flags=re.M).groups()
    tonic = SEMITONES[letter[0]] + letter.count("#") - letter.count("b")
    seconds = sounding(PIECES[name].notes)
    inside = seconds[[(tonic + degree) % 12 for degree in SCALES[mode]]].sum() / seconds.sum()
    assert inside >= 0.85
    ends = (
        PIECES[name].notes[:12],
        PIECES[name].notes[-12:],
    )  # an excerpt may leave home but not begin abroad
    home = {tonic % 12, (tonic + 7) % 12}
    assert any(home <= set((notes["pitch"] % 12).tolist()) for notes in ends)


@pytest.mark.parametrize("name", PIECES)
def test_every_section_is_written_for_two_hands(name):
    for section in TEXTS[name].split("\n[")[1:]:
        assert {"right", "left"} <= set(re.findall(r"^(\w+):", section, flags=re.M))


@pytest.mark.parametrize("name", PIECES)
def test_both_hands_play_and_no_key_is_struck_twice_at_once(name):
    notes = PIECES[name].notes
    assert 0.05 < len(PIECES[name].melody) / len(notes) < 0.85
    for pitch in np.unique(notes["pitch"]):
        same = notes[notes["pitch"] == pitch]
        assert (np.diff(same["onset"]) > 0).all()


def test_pieces_are_short_and_begin_soon():
    assert all(20 < end(piece.notes) < 120 for piece in PIECES.values())
    assert all(piece.notes["onset"][0] < 4 for piece in PIECES.values())


def test_happy_pieces_are_faster_louder_and_more_often_major():
    happy, sad = of_kind(1), of_kind(-1)
    assert np.median([steps(n).mean() for n in happy]) < np.median([steps(n).mean() for n in sad])
    assert np.median([n["duration"].mean() for n in happy]) < 0.8 * np.median(
        [n["duration"].mean() for n in sad]
    )
    assert np.mean([n["velocity"].mean() for n in happy]) > np.mean([n["velocity"].mean() for n in sad])
    modes = {name: re.search(r"^key: \S+ (\w+)$", text, flags=re.M)[1] for name, text in TEXTS.items()}
    assert all(modes[name] == "major" for name, piece in PIECES.items() if piece.valence == 1)
    assert sum(modes[name] == "major" for name, piece in PIECES.items() if piece.valence == -1) <= 1


def test_the_same_text_is_the_same_notes():
    assert all(piece.notes.tobytes() == PIECES[piece.name].notes.tobytes() for piece in pieces())
