import numpy as np
import pytest

from emoray.compose.pitch_guidance import label_direction, moved_by
from emoray.compose.sampling import kl_divergence, log_probabilities
from emoray.dataset.keys import agreements, pitch_classes

WEIGHTS = {"majorness": 1.0, "clearness": 0.0, "outside": 0.0, "register": 0.0}
C_AND_G = np.array([[48, 55, 60, 67, 48, 55, 60, 67]])


def test_kl_divergence_is_the_textbook_one():
    p, q = np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])
    assert kl_divergence(p, q)[0] == pytest.approx(0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1))


@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
def test_a_move_spends_its_budget_whatever_the_unit_of_its_direction(size):
    generator = np.random.default_rng(1)
    logits, direction = generator.normal(size=(6, 128)), generator.normal(size=(6, 128)) * size
    budget = np.array([0.0, 0.01, 0.05, 0.15, 0.3, 0.6])
    moved = moved_by(logits, direction, budget)
    np.testing.assert_allclose(
        kl_divergence(log_probabilities(moved), log_probabilities(logits)), budget, atol=1e-4
    )


def test_a_budget_of_nothing_moves_nothing():
    logits = np.random.default_rng(2).normal(size=(1, 128))
    np.testing.assert_allclose(
        log_probabilities(moved_by(logits, np.arange(128.0)[None], np.zeros(1))),
        log_probabilities(logits),
        atol=1e-9,
    )


def test_a_flat_direction_leads_nowhere_and_what_is_impossible_stays_so():
    logits = np.where(np.arange(128) < 21, -np.inf, 0.0)[None]
    moved = moved_by(logits, np.ones((1, 128)), np.array([0.15]))
    np.testing.assert_allclose(moved[0, 21:], -np.log(107))
    assert np.isneginf(moved[0, :21]).all()


def test_the_major_third_is_happier_than_the_minor_one_in_every_octave():
    happy = label_direction(C_AND_G, np.ones(1), WEIGHTS)[0]
    assert (happy[[52, 64, 76]] > happy[[51, 63, 75]]).all()
    np.testing.assert_allclose(label_direction(C_AND_G, -np.ones(1), WEIGHTS)[0], -happy)


def test_the_closed_form_over_candidates_is_what_adding_each_of_them_gives():
    happy = label_direction(C_AND_G, np.ones(1), WEIGHTS)[0]
    for candidate in (60, 63, 64, 66):
        by_key = agreements(pitch_classes(np.append(C_AND_G[0], candidate)))
        assert happy[candidate] == pytest.approx(by_key[:12].max() - by_key[12:].max())


def test_what_was_not_played_does_not_count():
    padded = np.concatenate([np.full((1, 5), -1), C_AND_G], axis=1)
    np.testing.assert_allclose(
        label_direction(padded, np.ones(1), WEIGHTS), label_direction(C_AND_G, np.ones(1), WEIGHTS)
    )
