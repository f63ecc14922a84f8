"""The original system's formulas against values worked by hand."""

import dataclasses
import math

import numpy as np
import pytest

from emoray.compose.original_formulas import (
    OFF_KEYBOARD,
    candidate_distances,
    candidate_features,
    candidate_scores,
    emotion_score,
    on_keyboard,
    original_gamma,
    original_literal_gamma,
    original_logits,
    time_factor,
    window_score,
)
from emoray.config import OriginalGuidance
from emoray.dataset.clusters import FEATURES, EmotionClusters, window_features
from emoray.dataset.windows import encode
from emoray.notes import as_notes

WINDOW = as_notes(np.arange(25) * 0.25, np.full(25, 0.2), 60 + np.arange(25) % 12, [80] * 25)
CLUSTERS = EmotionClusters(
    window=26,
    durations="key-down",
    mean=(0.0,) * 9,
    scale=(1.0,) * 9,
    centroids=((0.0,) * 6 + (60.0, 70.0, 3.0), (0.0,) * 6 + (72.0, 84.0, 3.0)),
    happy=1,
    sizes=(1, 1),
    rule="by hand",
)


def batch(window=WINDOW):
    return encode(window)[None].astype(np.float64)


@pytest.mark.parametrize(
    ("distances", "score"), [((1, 2), 0.731059), ((2, 1), 0.268941), ((5, 5), 0.5), ((1000, 1001), 0.731059)]
)
def test_the_emotion_score_is_the_documents_at_any_distance(distances, score):
    to_label, to_other = map(np.float64, distances)
    assert abs(emotion_score(to_label, to_other) - score) < 1e-6


def test_the_emotion_score_is_one_minus_the_documents_softmax():
    near, far = 1.25, 2.5
    document = 1 - math.exp(near) / (math.exp(near) + math.exp(far))
    assert abs(emotion_score(np.float64(near), np.float64(far)) - document) < 1e-12


def test_an_endless_distance_gives_a_score_and_not_an_overflow():
    scores = emotion_score(np.array([0.0, 1e6]), np.array([1e6, 0.0]))
    assert scores[0] == 1.0
    assert 0.0 <= scores[1] < 1e-300


def test_closed_form_features_are_those_of_each_candidate_appended_in_turn():
    step, duration = 0.4, 0.7
    quick = candidate_features(batch(), np.array([step]), np.array([duration]))[0]
    for pitch in (0, 21, 60, 65, 71, 108, 127):
        longer = as_notes(
            [*WINDOW["onset"], WINDOW["onset"][-1] + step],
            [*WINDOW["duration"], duration],
            [*WINDOW["pitch"], pitch],
            [80] * 26,
        )
        np.testing.assert_allclose(quick[pitch], window_features(longer, 26)[0], rtol=1e-5, atol=1e-5)


def test_closed_form_distances_are_those_of_the_features():
    where = batch(), np.array([0.4]), np.array([0.7])
    np.testing.assert_allclose(
        candidate_distances(*where, CLUSTERS), CLUSTERS.distances(candidate_features(*where)), rtol=1e-12
    )


def test_each_candidate_has_its_own_score_and_the_two_labels_share_one():
    one = np.array([0.25])
    happy = candidate_scores(batch(), one, one, np.array([1.0]), CLUSTERS)[0]
    sad = candidate_scores(batch(), one, one, np.array([-1.0]), CLUSTERS)[0]
    assert happy.shape == (128,)
    np.testing.assert_allclose(happy + sad, 1.0)
    assert happy[90] > happy[60], "the happy centroid lies higher, so a high pitch brings the window nearer"


def test_one_score_by_hand():
    """Only mean and max pitch differ from the centroids; sd of pitch and the times are the same distance."""
    features = candidate_features(batch(), np.array([0.25]), np.array([0.2]))[0, 84]
    logs = np.log(np.maximum(features[:6], 0.01))
    squares = [
        sum(logs**2) + (features[6] - mean) ** 2 + (features[7] - top) ** 2 + (features[8] - 3) ** 2
        for mean, top in ((60, 70), (72, 84))
    ]
    sad, happy = map(math.sqrt, squares)
    by_hand = 1 / (1 + math.exp(happy - sad))
    quarter = np.array([0.25]), np.array([0.2])
    score = candidate_scores(batch(), *quarter, np.array([1.0]), CLUSTERS)[0, 84]
    assert abs(score - by_hand) < 1e-9


def test_logits_by_hand():
    """(.5 x score + .5 x logits), then temperature 2: (.5 x .8 + .5 x 3) / 2 = .95."""
    logits, score = np.full((1, 128), 3.0), np.full((1, 128), 0.8)
    ones = np.ones(1)
    guidance = OriginalGuidance()
    guided = original_logits(logits, score, ones, ones, guidance)
    np.testing.assert_allclose(guided / guidance.temperature, 0.95)
    half = original_logits(logits, score, ones * -0.5, ones, guidance)
    np.testing.assert_allclose(half, 0.5 * 0.5 * 0.8 + 1.5)


def test_one_score_for_all_pitches_is_refused():
    """One number added to all 128 logits cancels in the softmax."""
    with pytest.raises(AssertionError, match="one score per pitch"):
        original_logits(np.zeros((1, 128)), np.array([0.9]), np.ones(1), np.ones(1), OriginalGuidance())


def test_the_pull_on_a_pitch_is_never_more_than_the_document_allows():
    """The pull is alpha / temperature = .25, so odds change by at most e^.25 = 1.284."""
    scores = np.linspace(0, 1, 128)[None]
    guidance = OriginalGuidance()
    guided = (
        original_logits(np.zeros((1, 128)), scores, np.ones(1), np.ones(1), guidance) / guidance.temperature
    )
    assert abs(math.exp(guided.max() - guided.min()) - 1.2840254) < 1e-6


def test_gamma_by_hand_makes_happy_shorter_whichever_side_is_drawn():
    assert abs(original_gamma(0.9) - 0.1) < 1e-12
    assert abs(original_gamma(1.1) - 0.1) < 1e-12
    assert abs(0.5 * time_factor(1.0, 1.0, original_gamma(0.9)) - 0.45) < 1e-12
    assert abs(0.5 * time_factor(-1.0, 1.0, original_gamma(1.1)) - 0.55) < 1e-12


def test_the_documents_letters_swap_happy_and_sad_half_the_time():
    assert abs(original_literal_gamma(0.9) - 0.1) < 1e-12
    assert abs(original_literal_gamma(1.1) + 0.1) < 1e-12
    assert time_factor(1.0, 1.0, original_literal_gamma(1.1)) > 1.0


def test_the_literal_score_is_one_for_the_whole_window():
    score = window_score(batch(), np.array([1.0]), CLUSTERS)
    assert score.shape == (1,)
    sad = window_score(batch(), np.array([-1.0]), CLUSTERS)
    assert abs(score[0] + sad[0] - 1) < 1e-12


def test_times_never_turn_negative_however_strong_the_pull():
    assert time_factor(1.0, 10.0, 0.5) == 0.1
    assert time_factor(1.0, 0.0, 0.5) == 1.0


def test_nothing_off_the_piano_keeps_a_chance():
    masked = on_keyboard(np.zeros((2, 128)))
    assert np.isneginf(masked[:, OFF_KEYBOARD]).all()
    assert (masked[:, 21:109] == 0).all()
    assert OFF_KEYBOARD.sum() == 40


def test_which_cluster_is_happy_turns_the_score_around():
    one, turned = np.array([0.25]), dataclasses.replace(CLUSTERS, happy=0)
    happy = candidate_scores(batch(), one, one, np.array([1.0]), CLUSTERS)
    np.testing.assert_allclose(candidate_scores(batch(), one, one, np.array([-1.0]), turned), happy)
    assert len(FEATURES) == 9
