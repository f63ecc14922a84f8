"""Fit what an emotion does to music: labelled phrases and a corpus to `emoray/compose/emotion_map.json`.

    python benchmarks/fit_emotion_map.py LABELS CORPUS

Only the half of the labelled phrases that is kept for guidance is used (`readers/annotations.py`); the judges
of the evaluation are fitted on the other one. Valence and arousal (-1 or +1) are regressed on the attributes
of the phrases by least squares; features of guidance `logodds` by a logistic regression; the profile of each
mode is the mean over windows of 64 training notes whose key is clear, its leaning a ratio of shares in
phrases of both valences. Prints how well the fit agrees with the k-means clusters.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from emoray.compose.conditions import FITTED
from emoray.compose.pitch_guidance import label_features
from emoray.compose.sampling import RECENT
from emoray.dataset import corpus
from emoray.dataset.attributes import GROUPS, attributes_ahead
from emoray.dataset.clusters import balanced_accuracy, window_features
from emoray.dataset.keys import agreements, pitch_classes
from emoray.model.checkpoint import load_checkpoint
from emoray.model.preset import PRETRAINED
from emoray.readers.annotations import halves, read_labels
from emoray.readers.midi import read_performance

WINDOW = 64
CLEAR = 0.8
"""Correlation with its key from which a window counts for the profile of its mode."""
FLOOR = 0.03
"""Added to each share before ratios are taken: a rare note in a few phrases says little."""
PERFORMED = {"velocity": 0.97}
"""Arousal's change of velocity cannot be fitted on scores: 25 steps between high and low in EMOPIA (Hung et
al. 2021), half of it each way, over 12.9, the deviation in MAESTRO."""


def attribute_changes(phrases, labels):
    """Least squares of each attribute but the profile on valence and arousal."""
    means = np.array(
        [attributes_ahead(notes, WINDOW)[: max(1, len(notes) - 32) : 8].mean(0) for notes in phrases]
    )
    known = np.array([[1, label.valence, label.arousal] for label in labels], dtype=float)
    fitted = np.linalg.lstsq(known, means, rcond=None)[0]
    names = list(GROUPS)[1:-1]
    valence, arousal = (
        {name: round(float(fitted[row, GROUPS[name]][0]), 3) for name in names} for row in (1, 2)
    )
    return valence, arousal | PERFORMED


def key_weights(phrases, labels):
    """Logistic weights of the key-relative features of valence, and their cross-validated accuracy."""
    rows, truth, groups = [], [], []
    for notes, label in zip(phrases, labels, strict=True):
        pitch = notes["pitch"].astype(np.int64)
        for first in range(0, max(1, len(pitch) - RECENT), RECENT // 2):
            rows.append(label_features(pitch[first : first + RECENT]))
            truth.append(label.valence)
            groups.append(label.series)
    names = list(rows[0])
    x = np.array([[row[name] for name in names] for row in rows])
    scale = x.std(axis=0)
    model = LogisticRegression(class_weight="balanced")
    foreseen = cross_val_predict(
        model, x / scale, truth, groups=groups, cv=GroupKFold(3), method="decision_function"
    )
    weights = model.fit(x / scale, truth).coef_[0] / scale
    accuracy = balanced_accuracy(foreseen, np.array(truth))
    return {name: round(float(value), 3) for name, value in zip(names, weights, strict=True)}, accuracy


def mode_profiles(folder):
    """Mean profile of clear training windows in major and in minor, tonic first; and how many there are."""
    found = ([], [])
    for _, notes in corpus.read_pieces(folder, "train"):
        for first in range(0, len(notes) - WINDOW, WINDOW):
            profile = pitch_classes(notes["pitch"][first : first + WINDOW])
            by_key = agreements(profile)
            if by_key.max() > CLEAR:
                found[by_key.argmax() // 12].append(np.roll(profile, -(by_key.argmax() % 12)))
    return [np.mean(mode, axis=0).round(4).tolist() for mode in found], [len(mode) for mode in found]


def leanings(phrases, labels):
    """Ratio of each pitch class's share in happy to that in sad phrases in major; the inverse in minor."""
    found = {(mode, valence): [] for mode in (0, 1) for valence in (-1, 1)}
    for notes, label in zip(phrases, labels, strict=True):
        for first in range(0, max(1, len(notes) - WINDOW), WINDOW):
            profile = pitch_classes(notes["pitch"][first : first + WINDOW])
            key = int(agreements(profile).argmax())
            found[key // 12, label.valence].append(np.roll(profile, -(key % 12)))
    share = {case: np.mean(profiles, axis=0) + FLOOR for case, profiles in found.items()}
    ratios = share[0, 1] / share[0, -1], share[1, -1] / share[1, 1]
    return [ratio.round(3).tolist() for ratio in ratios]


def cluster_agreement(phrases, labels):
    """How far the clusters' emotion score tells the labels of these phrases apart, balanced."""
    clusters = load_checkpoint(PRETRAINED / "baseline").clusters
    lean = np.array([clusters.happier(window_features(notes, clusters.window)).mean() for notes in phrases])
    return {
        name: round(balanced_accuracy(lean, np.array([getattr(label, name) for label in labels])), 3)
        for name in ("valence", "arousal")
    }


def main():
    """Fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", type=Path)
    parser.add_argument("corpus", type=Path)
    arguments = parser.parse_args()
    labels, _ = halves(read_labels(arguments.labels))
    phrases = [read_performance(label.path.read_bytes(), subject=label.path)[1] for label in labels]
    valence, arousal = attribute_changes(phrases, labels)
    weights, accuracy = key_weights(phrases, labels)
    profiles, windows = mode_profiles(arguments.corpus)
    provenance = {
        "labels": f"VGMIDI, {len(labels)} phrases of the series kept for guidance; coefficients only",
        "profiles": f"MAESTRO, training split: {windows[0]} windows in major, {windows[1]} in minor",
        "logodds_balanced_accuracy": round(accuracy, 3),
        "clusters_balanced_accuracy": cluster_agreement(phrases, labels),
    }
    fields = {
        "valence": valence, "arousal": arousal, "profiles": profiles,
        "leaning": leanings(phrases, labels),
        "weights": weights, "provenance":
        provenance,
    }  # fmt: skip
    print(json.dumps(fields, indent=2))
    FITTED.write_text(json.dumps(fields, indent=2) + "\n")


if __name__ == "__main__":
    main()
