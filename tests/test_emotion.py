import pytest

from emoray.emotion import Emotion, parse_valence
from emoray.errors import RequestError


def test_words_and_numbers_become_a_valence():
    assert parse_valence("Happy ") == Emotion.HAPPY == 1
    assert parse_valence("sad") == Emotion.SAD == -1
    assert parse_valence("-0.5") == parse_valence(-0.5) == -0.5


@pytest.mark.parametrize("text", ["joyful", "nan", "inf", "1.01", "", True, None])
def test_anything_else_is_refused_with_what_would_do(text):
    with pytest.raises(RequestError, match="write happy, sad or a number from -1 to 1"):
        parse_valence(text)
