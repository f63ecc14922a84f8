import math

import numpy as np
import pytest

from emoray.dataset.bins import DURATION_EDGES, STEP_EDGES
from emoray.evaluate.reference_models import (
    CONTEXT_NOTES,
    TIME_CELLS,
    TIME_CLASSES,
    TrainingCounts,
    bins_on_grid,
    cells_of,
    normal_on_grid,
    reference_sums,
    table_on_grid,
)
from emoray.notes import as_notes

ALL = np.arange(TIME_CLASSES)


@pytest.mark.parametrize("edges", [STEP_EDGES, DURATION_EDGES])
def test_a_binned_model_gives_all_classes_together_a_chance_of_1(edges):
    logits = np.random.default_rng(0).normal(size=len(edges))
    log_probabilities = np.tile(logits - np.log(np.exp(logits).sum()), (TIME_CLASSES, 1))
    assert np.exp(bins_on_grid(log_probabilities, edges, ALL)).sum() == pytest.approx(1)


def test_a_bin_is_shared_evenly_by_the_classes_it_covers():
    edges = np.array([0.0, 0.01, 0.04, 9.98])  # 1, 3, 994 cells; the last: 2 cells and all that is longer
    chances = np.log(np.tile([0.1, 0.3, 0.2, 0.4], (5, 1)))
    shares = np.exp(bins_on_grid(chances, edges, np.array([0, 2, 500, 999, TIME_CELLS])))
    np.testing.assert_allclose(shares, [0.1, 0.1, 0.2 / 994, 0.4 / 3, 0.4 / 3])


def test_bins_beyond_the_grid_are_all_in_its_last_class():
    edges = np.array([0.0, 5.0, 10.0, 20.0])
    chances = np.log([[0.1, 0.2, 0.3, 0.4]])
    assert math.exp(bins_on_grid(chances, edges, np.array([TIME_CELLS]))[0]) == pytest.approx(0.7)


def test_a_normal_density_is_integrated_over_each_cell_with_what_is_below_0_in_the_first():
    assert np.exp(normal_on_grid(np.full(TIME_CLASSES, 0.03), 0.02, ALL)).sum() == pytest.approx(1, abs=1e-6)
    first = math.exp(normal_on_grid(np.array([0.01]), 0.5, np.array([0]))[0])
    assert first == pytest.approx(0.5)
    one = math.exp(normal_on_grid(np.array([0.05]), 0.01, np.array([5]))[0])
    assert one == pytest.approx(0.341345, abs=1e-6)  # the textbook's share between the mean and one deviation


def test_a_table_gives_frequencies_with_one_added_to_each():
    counts = np.zeros(TIME_CLASSES)
    counts[3] = 99
    assert math.exp(table_on_grid(counts, np.array([3]))[0]) == pytest.approx(100 / (99 + TIME_CLASSES))


def test_cells_are_ten_milliseconds_however_a_float_is_rounded():
    np.testing.assert_array_equal(cells_of(np.array([0.29, 0.57, 1.13], np.float32)), [29, 57, 113])


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


def test_each_reference_model_by_hand():
    training = TrainingCounts.of([both([60, 60, 60, 61])])
    pitches = [60] * CONTEXT_NOTES + [61]
    sums = reference_sums(*both(pitches), training)
    unigram = 2 / 132  # one of four notes, one added to each of 128
    assert sums["uniform.pitch_nll"] == pytest.approx(math.log(128))
    assert sums["unigram.pitch_nll"] == pytest.approx(-math.log(unigram))
    assert sums["unigram_recent.pitch_nll"] == pytest.approx(-math.log(unigram / 2))
    assert sums["bigram.pitch_nll"] == pytest.approx(-math.log((1 + unigram) / 4))
    assert sums["repeat_last.pitch_nll"] == pytest.approx(-math.log((1 - 3 / 5) * unigram))
    assert sums["unigram.step_nll"] == pytest.approx(-math.log(4 / 1004))
    assert (
        sums["unigram.duration_nll"]
        == sums["unigram.duration_with_pedal_nll"]
        == pytest.approx(-math.log(5 / 1005))
    )
