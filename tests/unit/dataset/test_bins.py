import numpy as np
import pytest

from emoray.dataset.bins import (
    DURATION_BINS,
    DURATION_EDGES,
    LONGEST_DURATION,
    LONGEST_STEP,
    STEP_BINS,
    STEP_EDGES,
    VELOCITY_BINS,
    bins_of,
    velocity_bins,
    within_bins,
)

EDGES = [STEP_EDGES, DURATION_EDGES]


@pytest.mark.parametrize(
    ("seconds", "number"),
    [(0, 0), (0.0099, 0), (0.01, 1), (0.29, 29), (-1, 0), (8.4, STEP_BINS - 1), (1e6, STEP_BINS - 1)],
)  # fmt: skip
def test_a_time_is_in_the_bin_that_begins_at_or_before_it(seconds, number):
    assert bins_of(seconds, STEP_EDGES) == number


@pytest.mark.parametrize("edges", EDGES)
def test_edges_are_multiples_of_10_ms_that_grow_apart(edges):
    hundredths = np.round(edges * 100)
    np.testing.assert_allclose(edges * 100, hundredths, atol=1e-9)
    widths = np.diff(hundredths)
    assert widths.min() == widths[0] == 1
    assert (np.diff(widths) >= -1).all()  # rounding to 10 ms may take one back
    assert widths[-1] > 20


def test_fine_bins_end_where_rhythm_does_and_the_last_has_no_end():
    assert np.allclose(np.diff(STEP_EDGES)[:49], 0.01)
    assert np.allclose(np.diff(DURATION_EDGES)[:99], 0.01)
    assert STEP_EDGES[-1] >= LONGEST_STEP > STEP_EDGES[-2]
    assert DURATION_EDGES[-1] >= LONGEST_DURATION > DURATION_EDGES[-2]
    assert (len(STEP_EDGES), len(DURATION_EDGES), 32) == (STEP_BINS, DURATION_BINS, VELOCITY_BINS)


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("uniform", [0.0, 0.5, 0.999])
def test_a_time_sampled_from_a_bin_is_in_that_bin(edges, uniform):
    numbers = np.arange(len(edges))
    np.testing.assert_array_equal(
        bins_of(within_bins(numbers, edges, np.full(len(edges), uniform)), edges), numbers
    )


def test_every_edge_is_in_its_own_bin_in_single_precision_too():
    for edges in EDGES:
        np.testing.assert_array_equal(bins_of(edges, edges), np.arange(len(edges)))
    hundredths = (np.arange(50) / 100).astype(np.float32)
    np.testing.assert_array_equal(bins_of(hundredths + np.float32(1e-6), STEP_EDGES), np.arange(50))


def test_a_time_is_sampled_uniformly_from_its_bin_and_the_last_one_has_an_end():
    edges = np.array([0.0, 0.01, 0.03])
    chosen, uniform = np.array([0, 1, 2, 2]), np.array([0.5, 0.25, 0.0, 1.0])
    np.testing.assert_allclose(within_bins(chosen, edges, uniform), [0.005, 0.015, 0.03, 0.033])


def test_velocity_bins_are_four_wide():
    numbers = velocity_bins(np.arange(1, 128).astype(np.uint8))
    assert (numbers.min(), numbers.max()) == (0, VELOCITY_BINS - 1)
    assert np.bincount(numbers).tolist() == [3] + [4] * 31
