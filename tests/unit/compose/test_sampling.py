import numpy as np

from emoray.compose.sampling import chances, draw, within_bins

EVEN = np.log([[0.5, 0.3, 0.15, 0.05]])
ONE = np.ones(1)


def test_top_p_keeps_the_likeliest_choices_that_reach_it():
    np.testing.assert_allclose(chances(EVEN, ONE, np.array([0.6])), [[0.625, 0.375, 0, 0]])
    np.testing.assert_allclose(chances(EVEN, ONE, np.array([1.0])), [[0.5, 0.3, 0.15, 0.05]])
    np.testing.assert_allclose(chances(EVEN, ONE, np.array([0.01])), [[1, 0, 0, 0]])


def test_a_temperature_of_a_half_squares_the_chances():
    squares = np.array([0.25, 0.09, 0.0225, 0.0025])
    np.testing.assert_allclose(chances(EVEN, ONE / 2, ONE)[0], squares / squares.sum())


def test_choices_are_drawn_as_often_as_their_chances_say():
    rows = 10_000
    drawn = (np.arange(rows) + 0.5) / rows
    chosen = draw(np.repeat(EVEN, rows, axis=0), np.ones(rows), np.ones(rows), drawn)
    np.testing.assert_array_equal(np.bincount(chosen), [5000, 3000, 1500, 500])


def test_what_is_impossible_is_never_drawn_even_by_the_last_random_number():
    logits = np.array([[-np.inf, 0.0, -np.inf, 0.0, -np.inf]] * 3)
    chosen = draw(logits, np.ones(3), np.ones(3), np.array([0.0, 0.5, 1.0]))
    np.testing.assert_array_equal(chosen, [1, 3, 3])


def test_a_temperature_of_0_takes_the_likeliest():
    assert draw(EVEN, np.zeros(1), ONE, np.array([0.999]))[0] == 0


def test_a_row_draws_the_same_in_any_crowd():
    generator = np.random.default_rng(0)
    logits, drawn = generator.normal(size=(40, 202)), generator.random(40)
    crowd = draw(logits, np.full(40, 0.9), np.full(40, 0.95), drawn)
    alone = [draw(logits[i : i + 1], ONE * 0.9, ONE * 0.95, drawn[i : i + 1])[0] for i in range(40)]
    np.testing.assert_array_equal(crowd, alone)


def test_times_are_drawn_evenly_from_their_bin_and_the_last_one_has_an_end():
    edges = np.array([0.0, 0.01, 0.03])
    chosen, drawn = np.array([0, 1, 2, 2]), np.array([0.5, 0.25, 0.0, 1.0])
    np.testing.assert_allclose(within_bins(chosen, edges, drawn), [0.005, 0.015, 0.03, 0.033])
