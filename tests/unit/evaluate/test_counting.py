import math

import numpy as np
import pytest

from emoray.evaluate.counting import RECENT, TrainingCounts, counting_sums
from emoray.notes import as_notes


def piece(pitches, duration=0.25):
    count = len(pitches)
    return as_notes(np.arange(count) * 0.5, [duration] * count, pitches, [80] * count)


def both(pitches):
    return piece(pitches), piece(pitches, 1.0)


def test_counts_are_what_was_played_and_add_up_when_they_travel():
    one, two = TrainingCounts.of([both([60, 60, 62])]), TrainingCounts.of([both([62, 60])])
    total = TrainingCounts.from_flat(one.flat() + two.flat())
    assert total.pitches[[60, 62]].tolist() == [3, 2]
    assert total.pairs[60, 60] == total.pairs[60, 62] == total.pairs[62, 60] == 1
    assert total.pairs.sum() == 3  # pairs do not cross pieces
    assert total.steps[50] == 3
    assert total.durations[25] == total.sounding[100] == 5


def test_each_rule_by_hand():
    training = TrainingCounts.of([both([60, 60, 60, 61])])
    pitches = [60] * RECENT + [61]
    sums = counting_sums(*both(pitches), training)
    unigram = 2 / 132  # one of four notes, one added to each of 128
    assert sums["uniform.pitch_nll"] == pytest.approx(math.log(128))
    assert sums["unigram.pitch_nll"] == pytest.approx(-math.log(unigram))
    assert sums["unigram_recent.pitch_nll"] == pytest.approx(-math.log(unigram / 2))
    assert sums["bigram.pitch_nll"] == pytest.approx(-math.log((1 + unigram) / 4))
    assert sums["repeat_last.pitch_nll"] == pytest.approx(-math.log((1 - 3 / 5) * unigram))
    assert sums["unigram.step_nll"] == pytest.approx(-math.log(4 / 1004))
    assert sums["unigram.duration_nll"] == sums["unigram.sounding_nll"] == pytest.approx(-math.log(5 / 1005))
