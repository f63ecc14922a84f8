import numpy as np

from emoray.compose.sampling import LONGEST_RUN, RECENT, probabilities, repetition_guard, sample

EVEN = np.log([[0.5, 0.3, 0.15, 0.05]])
ONE = np.ones(1)


def test_top_p_keeps_the_likeliest_choices_that_reach_it():
    np.testing.assert_allclose(probabilities(EVEN, ONE, np.array([0.6])), [[0.625, 0.375, 0, 0]])
    np.testing.assert_allclose(probabilities(EVEN, ONE, np.array([1.0])), [[0.5, 0.3, 0.15, 0.05]])
    np.testing.assert_allclose(probabilities(EVEN, ONE, np.array([0.01])), [[1, 0, 0, 0]])


def test_a_temperature_of_a_half_squares_the_probabilities():
    squares = np.array([0.25, 0.09, 0.0225, 0.0025])
    np.testing.assert_allclose(probabilities(EVEN, ONE / 2, ONE)[0], squares / squares.sum())


def test_choices_are_sampled_as_often_as_their_probabilities_say():
    rows = 10_000
    uniform = (np.arange(rows) + 0.5) / rows
    chosen = sample(np.repeat(EVEN, rows, axis=0), np.ones(rows), np.ones(rows), uniform)
    np.testing.assert_array_equal(np.bincount(chosen), [5000, 3000, 1500, 500])


def test_what_is_impossible_is_never_sampled_even_by_the_last_random_number():
    logits = np.array([[-np.inf, 0.0, -np.inf, 0.0, -np.inf]] * 3)
    chosen = sample(logits, np.ones(3), np.ones(3), np.array([0.0, 0.5, 1.0]))
    np.testing.assert_array_equal(chosen, [1, 3, 3])


def test_a_temperature_of_0_takes_the_likeliest():
    assert sample(EVEN, np.zeros(1), ONE, np.array([0.999]))[0] == 0


def test_a_sequence_samples_the_same_in_any_batch():
    generator = np.random.default_rng(0)
    logits, uniform = generator.normal(size=(40, 202)), generator.random(40)
    together = sample(logits, np.full(40, 0.9), np.full(40, 0.95), uniform)
    alone = [sample(logits[i : i + 1], ONE * 0.9, ONE * 0.95, uniform[i : i + 1])[0] for i in range(40)]
    np.testing.assert_array_equal(together, alone)


def after(*pitches):
    row = np.full((1, RECENT), -1)
    if pitches:
        row[0, -len(pitches) :] = pitches
    return np.flatnonzero(repetition_guard(row)[0]).tolist()


def test_a_pitch_may_be_repeated_but_not_for_ever():
    assert after(*[60] * (LONGEST_RUN - 1)) == []
    assert after(*[60] * LONGEST_RUN) == [60]


def test_a_figure_may_sound_four_times_and_then_has_to_move():
    figure = [60, 67, 64, 67]
    assert after(*figure * 3) == []
    assert after(62, *figure * 4) == [60]
    assert after(*figure * 3, 60, 67, 65, 67) == []


def test_music_that_does_not_repeat_is_left_alone():
    assert after() == []
    assert after(*range(40, 40 + RECENT)) == []
