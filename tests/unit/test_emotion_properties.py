"""Emotions and curves from any text: in range, or one of our errors."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from emoray.emotion import along, parse_curve, parse_emotion
from emoray.errors import RequestError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=12,
)
POINTS = st.lists(st.lists(st.floats(-2, 9) | st.integers(-1, 2), min_size=1, max_size=4), max_size=5)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=9) | st.floats() | st.integers() | st.booleans())
def test_any_word_or_number_is_an_emotion_in_range_or_refused(word):
    try:
        valence, arousal = parse_emotion(word)
    except RequestError:
        return
    assert -1 <= valence <= 1
    assert arousal is None or -1 <= arousal <= 1


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=20) | (JSON | POINTS).map(json.dumps), st.floats(0, 1e6))
def test_any_text_is_a_curve_that_rises_and_stays_in_range_or_refused(text, seconds):
    try:
        curve = parse_curve(text)
    except RequestError:
        return
    times = [point[0] for point in curve]
    assert times == sorted(set(times))
    assert parse_curve(json.dumps(curve)) == curve
    assert all(-1 <= value <= 1 for value in along(curve, seconds))
