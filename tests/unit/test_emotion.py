import math

import pytest

from emoray.emotion import Emotion, along, check_curve, parse_curve, parse_emotion, parse_valence
from emoray.errors import RequestError


def test_words_and_numbers_become_a_valence():
    assert parse_valence("Happy ") == Emotion.HAPPY == 1
    assert parse_valence("sad") == Emotion.SAD == -1
    assert parse_valence("-0.5") == parse_valence(-0.5) == -0.5


@pytest.mark.parametrize("text", ["joyful", "nan", "inf", "1.01", "", True, None])
def test_anything_else_is_refused_with_what_would_do(text):
    with pytest.raises(RequestError, match="write happy, sad or a number from -1 to 1"):
        parse_valence(text)


@pytest.mark.parametrize(
    ("word", "place"),
    [
        ("happy", (1, None)),
        ("Tense", (-1, 1)),
        ("calm", (1, -1)),
        ("gloomy", (-1, -1)),
        ("-0.25", (-0.25, None)),
    ],
)
def test_words_for_all_four_quadrants(word, place):
    assert parse_emotion(word) == place


def test_an_unknown_word_is_refused_with_those_that_would_do():
    with pytest.raises(RequestError, match="'joyful' is not an emotion; write happy, sad, excited, tense"):
        parse_emotion("joyful")


def test_a_curve_may_leave_its_arousal_to_the_valence():
    assert parse_curve("[[0, -1], [10, 0.5, 1]]") == ((0.0, -1.0, -1.0), (10.0, 0.5, 1.0))


def test_a_curve_runs_straight_between_its_points_and_level_outside_them():
    curve = ((2.0, -1.0, 0.0), (4.0, 1.0, 1.0))
    assert [along(curve, seconds) for seconds in (0, 2, 3, 4, 99)] == [
        (-1, 0), (-1, 0), (0, 0.5), (1, 1), (1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[5, 1], [3, -1]]", "goes from 5 to 3 seconds; put its points in order"),
        ("[[0, 1], [0, -1]]", "goes from 0 to 0 seconds"),
        ("[[-1, 1]]", "has a point at -1.0 seconds; times start at 0"),
        ("[[0, 2]]", "has the valence 2.0 at 0 s; it must lie in -1..1"),
        ("[[0, 1, -3]]", "has the arousal -3.0 at 0 s"),
        ("[[0, NaN]]", "has the valence nan"),
        ("[[0]]", "is not a list of"),
        ("[]", "it needs 1 to 1000 points"),
        ("[[0, true]]", "is no point"),
        ('{"0": 1}', "it needs 1 to 1000 points"),
        ("happy", "is not a list of .*; write JSON"),
        ("[" * 100_000, "is not a list of"),
        ("[[1e999, 1]]", "has a point at inf seconds"),
    ],
)
def test_a_curve_that_no_piece_can_follow_is_refused(text, reason):
    with pytest.raises(RequestError, match=reason):
        parse_curve(text)


def test_a_curve_of_numbers_is_checked_like_one_of_text():
    with pytest.raises(RequestError, match="times start at 0"):
        check_curve(((math.nan, 0.0, 0.0),))
