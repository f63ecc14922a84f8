import numpy as np
import pytest

from emoray.errors import CorpusError
from emoray.evaluate.judges import (
    FEATURES_OF,
    JUDGE_FEATURES,
    JUDGE_TIME_FEATURES,
    cross_validated,
    features_of_judge,
    fit_judge,
    judge_features,
    load_judges,
)
from emoray.notes import as_notes

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)


def tune(scale, step=0.25, random_seed=0, count=200):
    """A walk over a scale that keeps coming back to its tonic triad."""
    generator = np.random.default_rng(random_seed)
    place = np.where(
        generator.random(count) < 0.5, generator.choice([0, 2, 4], count), generator.integers(0, 7, count)
    )
    pitch = 60 + np.array(scale)[place] + 12 * generator.integers(-1, 2, count)
    return as_notes(np.arange(count) * step, [step * 0.9] * count, pitch, [80] * count)


def test_features_by_hand():
    notes = as_notes([0.0, 0.5, 0.5], [0.5, 1.0, 1.0], [60, 64, 67], [80] * 3)
    found = dict(zip(JUDGE_FEATURES, judge_features(notes), strict=True))
    assert found["note_rate"] == pytest.approx(np.log(3 / 0.5))
    assert found["chords"] == 0.5
    assert found["polyphony"] == pytest.approx(np.log(2.5 / 1.5))
    assert (found["highest"], found["lowest"]) == (67, 60)
    assert found["leap"] == pytest.approx(3.5)
    assert found["in_scale"] == 1.0
    assert found["class_entropy"] == pytest.approx(np.log2(3))


def test_the_shipped_judges_hear_major_as_more_positive_and_fast_as_more_excited():
    def judged(*pieces):
        return load_judges().probabilities(np.array([judge_features(notes) for notes in pieces]))

    major, minor = (
        judged(*(tune(scale, random_seed=seed) for seed in range(20))) for scale in (MAJOR, MINOR)
    )
    for judge in ("valence", "valence_from_pitches"):
        assert np.mean(major[judge] > minor[judge]) > 0.8, judge
    fast, slow = (judged(*(tune(MAJOR, step, seed) for seed in range(10))) for step in (0.1, 0.5))
    assert np.mean(fast["arousal"] > slow["arousal"]) > 0.9


def test_no_tempo_moves_the_judge_that_hears_pitches_only():
    probabilities = [
        load_judges().probabilities(judge_features(tune(MAJOR, step))[None])["valence_from_pitches"]
        for step in (0.1, 1.0)
    ]
    assert probabilities[0] == probabilities[1]
    assert not set(JUDGE_TIME_FEATURES) & set(FEATURES_OF["valence_from_pitches"])


def test_shipped_judges_say_where_they_come_from_and_what_they_can_tell():
    assert "VGMIDI" in load_judges().provenance
    assert {
        name: 0.5 < value < 1 for name, value in load_judges().cross_validated_accuracy.items()
    } == dict.fromkeys(FEATURES_OF, True)
    assert all(len(some) == 20 for some in load_judges().permuted.values())


def test_a_fitted_judge_is_sklearns_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(0)
    features = generator.normal(3, 2, (80, 4))
    labels = np.where(features[:, 0] + generator.normal(0, 1, 80) > 3, 1, -1)
    judge = fit_judge(features, labels)
    standard = (features - features.mean(0)) / features.std(0)
    expected = LogisticRegression(class_weight="balanced", max_iter=1000).fit(standard, labels)
    np.testing.assert_allclose(
        judge.probabilities(features), expected.predict_proba(standard)[:, 1], atol=1e-6
    )


def test_cross_validation_finds_a_rule_and_finds_nothing_in_noise():
    generator = np.random.default_rng(1)
    features = generator.normal(0, 1, (120, 3))
    groups = [str(number // 4) for number in range(120)]
    truth = np.where(features[:, 1] > 0, 1, -1)
    assert cross_validated(features, truth, groups, 4) > 0.9
    assert cross_validated(features, generator.permutation(truth), groups, 4) == pytest.approx(0.5, abs=0.15)


def test_a_judge_hears_its_own_features_only_and_music_alone():
    features = np.arange(len(JUDGE_FEATURES), dtype=float)[None]
    assert features_of_judge(features, "valence_from_pitches")[0, 0] == JUDGE_FEATURES.index("pitch")
    with pytest.raises(CorpusError, match="without notes"):
        judge_features(as_notes([], [], [], []))
