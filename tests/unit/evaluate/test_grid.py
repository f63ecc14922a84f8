import math

import numpy as np
import pytest

from emoray.dataset.bins import DURATION_EDGES, STEP_EDGES
from emoray.evaluate.grid import CELLS, CLASSES, bins_on_grid, cells_of, normal_on_grid, table_on_grid

ALL = np.arange(CLASSES)


@pytest.mark.parametrize("edges", [STEP_EDGES, DURATION_EDGES])
def test_a_binned_model_gives_all_classes_together_a_chance_of_1(edges):
    logits = np.random.default_rng(0).normal(size=len(edges))
    log_chances = np.tile(logits - np.log(np.exp(logits).sum()), (CLASSES, 1))
    assert np.exp(bins_on_grid(log_chances, edges, ALL)).sum() == pytest.approx(1)


def test_a_bin_is_shared_evenly_by_the_classes_it_covers():
    edges = np.array([0.0, 0.01, 0.04, 9.98])  # 1, 3, 994 cells; the last: 2 cells and all that is longer
    chances = np.log(np.tile([0.1, 0.3, 0.2, 0.4], (5, 1)))
    shares = np.exp(bins_on_grid(chances, edges, np.array([0, 2, 500, 999, CELLS])))
    np.testing.assert_allclose(shares, [0.1, 0.1, 0.2 / 994, 0.4 / 3, 0.4 / 3])


def test_bins_beyond_the_grid_are_all_in_its_last_class():
    edges = np.array([0.0, 5.0, 10.0, 20.0])
    chances = np.log([[0.1, 0.2, 0.3, 0.4]])
    assert math.exp(bins_on_grid(chances, edges, np.array([CELLS]))[0]) == pytest.approx(0.7)


def test_a_normal_density_is_integrated_over_each_cell_with_what_is_below_0_in_the_first():
    assert np.exp(normal_on_grid(np.full(CLASSES, 0.03), 0.02, ALL)).sum() == pytest.approx(1, abs=1e-6)
    first = math.exp(normal_on_grid(np.array([0.01]), 0.5, np.array([0]))[0])
    assert first == pytest.approx(0.5)
    one = math.exp(normal_on_grid(np.array([0.05]), 0.01, np.array([5]))[0])
    assert one == pytest.approx(0.341345, abs=1e-6)  # the textbook's share between the mean and one deviation


def test_a_table_gives_frequencies_with_one_added_to_each():
    counts = np.zeros(CLASSES)
    counts[3] = 99
    assert math.exp(table_on_grid(counts, np.array([3]))[0]) == pytest.approx(100 / (99 + CLASSES))


def test_cells_are_ten_milliseconds_however_a_float_is_rounded():
    np.testing.assert_array_equal(cells_of(np.array([0.29, 0.57, 1.13], np.float32)), [29, 57, 113])
