from __future__ import annotations

import numpy as np
import pytest

from emoray.readers.expression import EXPRESSIONS, label, valence


def probabilities(**given: float) -> np.ndarray:
    rest = (1 - sum(given.values())) / (7 - len(given))
    return np.array([given.get(name, rest) for name in EXPRESSIONS])


@pytest.mark.parametrize(
    ("happy", "sad", "expected"),
    [(0.6, 0.1, 1), (0.1, 0.6, -1), (0.30, 0.15, 0), (0.15, 0.30, 0), (0.4, 0.15, 1)],
)
def test_the_label_is_the_larger_of_the_two_or_none_when_they_are_close(happy, sad, expected):
    assert label(probabilities(happy=happy, sad=sad), 0.2) == expected


def test_even_without_a_threshold_a_tie_is_no_label():
    assert label(probabilities(happy=0.3, sad=0.3), 0.0) == 0
    assert label(probabilities(happy=0.3, sad=0.31), 0.0) == -1


def test_valence_is_the_expected_pleasure_worked_by_hand():
    """.5 x .81 - .5 x .63 = .09, and .09/.81 of the way up; a sad face alone is .63/.64 of the way down."""
    assert valence(probabilities(happy=0.5, sad=0.5)) == pytest.approx(0.09 / 0.81)
    assert valence(probabilities(sad=1.0)) == pytest.approx(-0.63 / 0.64)
    assert valence(probabilities(neutral=1.0)) == 0
