"""A score says what is played, and where it is wrong."""

import numpy as np
import pytest

from emoray.demo.score import read_score
from emoray.errors import CorpusError

HEAD = """title: A Test
composer: Nobody
year: 1800
emotion: {emotion}
arousal: calm
split: train
tempo: 60
meter: {meter}
"""


def score(body, *, meter="4/4", emotion="sad", form=""):
    return read_score(HEAD.format(meter=meter, emotion=emotion) + form + "\n[A]\n" + body, name="test")


def onsets_and_pitches(piece):
    return [(round(float(on), 4), int(pitch)) for on, pitch in piece.notes[["onset", "pitch"]].tolist()]


def test_lengths_rests_chords_and_accidentals_are_read():
    piece = score("right: C4/q r/e D#4/e Eb4+G4/h")
    assert onsets_and_pitches(piece) == [(0, 60), (1.5, 63), (2, 63), (2, 67)]
    np.testing.assert_allclose(piece.notes["duration"], np.array([1, 0.5, 2, 2]) * 0.98, rtol=1e-6)


def test_a_length_goes_on_until_the_next_one_and_over_the_bar_line():
    piece = score("right: C4/h D4 | E4 F4")
    assert onsets_and_pitches(piece) == [(0, 60), (2, 62), (4, 64), (6, 65)]


def test_triplets_dots_numbers_and_repeats_fill_a_bar():
    piece = score("right: C4/t*3 D4/e. E4/s F4/0.5*2 G4/q")
    np.testing.assert_allclose(piece.notes["onset"], [0, 1 / 3, 2 / 3, 1, 1.75, 2, 2.5, 3])


def test_a_held_note_sounds_on_over_the_bar_line():
    piece = score("right: C4/w | -/h D4/h")
    np.testing.assert_allclose(piece.notes["duration"], [6 * 0.98, 2 * 0.98], rtol=1e-6)


def test_the_rests_before_an_upbeat_are_not_waited_for():
    assert onsets_and_pitches(score("right: r/h. C4/q | D4/w")) == [(0, 60), (1, 62)]


def test_voices_sound_together_and_sections_in_their_form():
    body = "right: C5/w\nleft: C3/h G3\n\n[B]\nright: D5/w\nleft: r/w\n"
    piece = score(body, form="form: A B A\n")
    assert onsets_and_pitches(piece) == [(0, 48), (0, 72), (2, 55), (4, 74), (8, 48), (8, 72), (10, 55)]
    assert piece.melody["pitch"].tolist() == [72, 74, 72]


def test_of_a_unison_the_longer_note_stays():
    piece = score("right: C4/w\nleft: C4/q r/h.")
    assert len(piece.notes) == 1
    assert piece.notes["duration"][0] == pytest.approx(4 * 0.98)


def test_the_first_beat_is_louder_and_the_melody_stands_out():
    piece = score("right: C5/q C5 C5 C5\nleft: C3/q C3 C3 C3")
    velocity = piece.notes["velocity"].reshape(4, 2)
    assert velocity[0, 1] > velocity[1, 1]
    assert (velocity[:, 1] > velocity[:, 0]).all()


def test_three_eighths_are_a_bar_of_one_and_a_half_quarters():
    assert onsets_and_pitches(score("right: C4/e D4 E4 | F4/q.", meter="3/8"))[-1] == (1.5, 65)


def test_the_head_gives_the_emotion():
    assert (score("right: C4/w").valence, score("right: C4/w", emotion="happy").valence) == (-1, 1)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("right: C4/h. | D4/w", r"test \[A\] right, bar 1: lasts 3 quarters instead of 4"),
        ("right: C4/w | D4/w\nleft: C3/w", r"different numbers of bars: right 2, left 1"),
        ("right: H4/w", r"bar 1: cannot read the note 'H4'"),
        ("right: C4/z", r"bar 1: cannot read the length 'z'"),
        ("right: -/w", r"bar 1: cannot read the note '-'"),
        ("viola: C4/w", r"unknown voice 'viola'; known are right, middle, left"),
    ],
)
def test_a_slip_of_the_pen_is_named_with_its_bar(body, match):
    with pytest.raises(CorpusError, match=match):
        score(body)


def test_a_form_of_unknown_sections_and_a_head_without_tempo_are_refused():
    with pytest.raises(CorpusError, match="form names section 'C'"):
        score("right: C4/w", form="form: A C\n")
    with pytest.raises(CorpusError, match="has no line 'title'"):
        read_score("tempo: 60\n\n[A]\nright: C4/w", name="test")
