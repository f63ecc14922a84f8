import dataclasses

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler

from emoray.dataset.clusters import (
    FEATURES,
    TIME_FEATURES,
    EmotionClusters,
    LabelledPiece,
    balanced_accuracy,
    cluster_report,
    fit_clusters,
    window_features,
)
from emoray.errors import CheckpointError, CorpusError
from emoray.notes import as_notes

FAST = [0.1, 0.3, 0.1, 0.1, 0.3, 0.1, 70.0, 85.0, 8.0]
SLOW = [0.5, 1.5, 0.4, 0.6, 2.0, 0.5, 60.0, 75.0, 8.0]


def windows(centre, count, random_seed):
    generator = np.random.default_rng(random_seed)
    return (np.array(centre) * generator.lognormal(0, 0.05, (count, 9))).astype(np.float32)


FEATURES_OF_TWO_KINDS = np.concatenate([windows(FAST, 60, 1), windows(SLOW, 40, 2)])


def test_the_two_kinds_are_found_and_faster_is_happy_without_labels():
    clusters = fit_clusters(FEATURES_OF_TWO_KINDS, window=26, durations="key-down")
    assert clusters.sizes[clusters.happy] == 60
    assert "shorter steps" in clusters.rule
    np.testing.assert_allclose(clusters.musical_centroids()[clusters.happy], FAST, rtol=0.05)
    assert (clusters.happier(FEATURES_OF_TWO_KINDS)[:60] > 0).all()
    assert (clusters.happier(FEATURES_OF_TWO_KINDS)[60:] < 0).all()


def test_clusters_are_those_of_scikit_learn_on_standardised_log_times():
    clusters = fit_clusters(FEATURES_OF_TWO_KINDS, window=26, durations="key-down")
    logs = np.where(TIME_FEATURES, np.log(FEATURES_OF_TWO_KINDS), FEATURES_OF_TWO_KINDS)
    standardised = StandardScaler().fit_transform(logs.astype(np.float64))
    np.testing.assert_allclose(clusters.standardised(FEATURES_OF_TWO_KINDS), standardised, atol=1e-5)
    fitted = KMeans(n_clusters=2, n_init=10, random_state=0).fit(standardised)
    nearest = clusters.distances(FEATURES_OF_TWO_KINDS).argmin(axis=1)
    assert len(set(zip(nearest.tolist(), fitted.labels_.tolist(), strict=True))) == 2
    np.testing.assert_allclose(
        clusters.distances(FEATURES_OF_TWO_KINDS).min(axis=1),
        fitted.transform(standardised).min(axis=1),
        atol=1e-5,
    )


def test_labelled_pieces_decide_even_against_the_tempo():
    """If people call the slow pieces happy, slow is happy, and the evidence says how far they agree."""
    pieces = [LabelledPiece(features=windows(SLOW, 3, n), valence=1, arousal=1) for n in range(4)]
    pieces += [LabelledPiece(features=windows(FAST, 3, n), valence=-1, arousal=-1) for n in range(3)]
    pieces += [LabelledPiece(features=windows(SLOW, 3, 9), valence=-1, arousal=-1)]
    clusters = fit_clusters(FEATURES_OF_TWO_KINDS, window=26, durations="key-down", labelled=pieces)
    assert clusters.sizes[clusters.happy] == 40
    assert "labelled pieces" in clusters.rule
    assert clusters.evidence["balanced_accuracy"]["happy_against_sad"] == (1 + 0.75) / 2
    assert clusters.evidence["pieces"] == 8


def test_labels_that_agree_with_neither_leave_the_tempo_to_decide():
    pieces = [
        LabelledPiece(features=windows(kind, 3, 5), valence=label, arousal=label)
        for kind in (FAST, SLOW)
        for label in (1, -1)
    ]
    clusters = fit_clusters(FEATURES_OF_TWO_KINDS, window=26, durations="key-down", labelled=pieces)
    assert clusters.sizes[clusters.happy] == 60
    assert clusters.evidence["anchored"] is False
    assert clusters.evidence["balanced_accuracy"]["happy_against_sad"] == 0.5


def test_balanced_accuracy_by_hand():
    assert balanced_accuracy(np.array([1.0, 1.0, 1.0, -1.0]), np.array([1, 1, -1, -1])) == 0.75
    assert balanced_accuracy(np.array([0.0, 0.0]), np.array([1, -1])) == 0.5


def test_load_gives_back_what_was_saved(tmp_path):
    clusters = fit_clusters(FEATURES_OF_TWO_KINDS, window=26, durations="key-down")
    clusters.save(tmp_path / "emotion.json")
    assert EmotionClusters.load(tmp_path / "emotion.json") == clusters


@pytest.mark.parametrize(
    "change",
    [lambda text: text.replace('"version": 2', '"version": 1'), lambda text: text[:-40],
     lambda text: text.replace('"happy"', '"glad"'), lambda _text: "[]"],
)  # fmt: skip
def test_what_is_not_emotion_clusters_is_refused_with_the_command_to_run(tmp_path, change):
    path = tmp_path / "emotion.json"
    fit_clusters(FEATURES_OF_TWO_KINDS, window=26, durations="key-down").save(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(CheckpointError, match="run `emoray cluster` again"):
        EmotionClusters.load(path)


def test_too_little_or_too_uniform_music_cannot_be_clustered():
    with pytest.raises(CorpusError, match="k-means needs two or more"):
        fit_clusters(FEATURES_OF_TWO_KINDS[:1], window=26, durations="key-down")
    with pytest.raises(CorpusError, match="windows that are all alike"):
        fit_clusters(np.repeat(FEATURES_OF_TWO_KINDS[:1], 5, axis=0), window=26, durations="key-down")


def test_the_report_names_centroids_in_musical_units():
    report = cluster_report(fit_clusters(FEATURES_OF_TWO_KINDS, window=26, durations="key-down"))
    assert report["sizes"] == {"happy": 60, "sad": 40}
    assert list(report["centroids"]["sad"]) == list(FEATURES)
    assert abs(report["centroids"]["sad"]["mean_step"] - 0.5) < 0.05


def test_clusters_are_plain_data():
    clusters = fit_clusters(FEATURES_OF_TWO_KINDS, window=26, durations="key-down")
    assert dataclasses.replace(clusters, happy=1 - clusters.happy).happy != clusters.happy


def test_nine_features_by_hand():
    notes = as_notes([0.0, 1.0, 1.5, 3.5], [1, 2, 3, 6], [60, 64, 62, 70], [80] * 4)
    [row] = window_features(notes, 4)
    named = dict(zip(FEATURES, row.tolist(), strict=True))
    assert named["mean_step"] == 0.875  # (0 + 1 + .5 + 2) / 4
    assert named["max_step"] == 2.0
    assert abs(named["std_step"] - np.sqrt(0.546875)) < 1e-6
    assert (named["mean_duration"], named["max_duration"]) == (3.0, 6.0)
    assert abs(named["std_duration"] - np.sqrt(3.5)) < 1e-6
    assert (named["mean_pitch"], named["max_pitch"]) == (64.0, 70.0)
    assert abs(named["std_pitch"] - np.sqrt(14.0)) < 1e-6


def test_windows_lie_end_to_end_or_a_stride_apart_and_leave_the_rest_out():
    notes = as_notes(np.arange(10.0), np.ones(10), np.arange(60, 70), [80] * 10)
    assert window_features(notes, 4)[:, FEATURES.index("max_pitch")].tolist() == [63, 67]
    assert window_features(notes, 4, stride=3)[:, FEATURES.index("max_pitch")].tolist() == [63, 66, 69]


def test_a_windows_first_step_reaches_back_into_the_piece():
    notes = as_notes([0.0, 5.0, 6.0], [1, 1, 1], [60, 60, 60], [80] * 3)
    assert window_features(notes, 2, stride=1)[:, FEATURES.index("max_step")].tolist() == [5.0, 5.0]


def test_a_short_piece_is_one_window_and_an_empty_one_is_none():
    notes = as_notes([0.0, 1.0], [1, 1], [60, 62], [80, 80])
    assert window_features(notes, 26).shape == (1, 9)
    assert window_features(notes[:0], 26).shape == (0, 9)
