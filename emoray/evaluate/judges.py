"""Judges: classifiers, fitted on people's labels, of how positive and how excited music sounds.

Conventions
-----------
A judge is a logistic regression on features of windows of 128 notes, averaged over a piece. The judges
``valence`` and ``arousal`` use all features; ``valence_from_pitches`` uses those of the pitches alone, which
do not depend on the tempo. The judges are fitted on the half of the labelled phrases that guidance does not
use (``readers/annotations.py``), and their coefficients ship in ``judges.json``, which
``benchmarks/fit_judges.py`` writes. The cross-validated accuracy that ships with them bounds what they can
measure. ``permuted`` holds judges that were fitted on permuted labels: the null baseline.

Letters: **F** features, **P** pieces.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from emoray.dataset.keys import agreements, in_scale, pitch_classes
from emoray.errors import CorpusError
from emoray.notes import Floats, Notes, steps

JUDGES_FILE = Path(__file__).parent / "judges.json"
WINDOW_NOTES, HOP_NOTES = 128, 64
JUDGE_TIME_FEATURES = (
    "note_rate", "log_step_spread", "log_duration", "log_duration_spread", "polyphony", "chords",
)  # fmt: skip
JUDGE_PITCH_FEATURES = (
    "pitch", "pitch_spread", "highest", "lowest", "majorness", "clearness", "in_scale", "class_entropy",
    "leap",
)  # fmt: skip
JUDGE_FEATURES = JUDGE_TIME_FEATURES + JUDGE_PITCH_FEATURES
MAX_DEVIATIONS = 4.0
"""Features are clipped at so many standard deviations of the labelled phrases."""
CHORD_SECONDS = 0.03
"""Two onsets closer than this are one chord."""
FEATURES_OF = {
    "valence": JUDGE_FEATURES,
    "arousal": JUDGE_FEATURES,
    "valence_from_pitches": JUDGE_PITCH_FEATURES,
}
"""The features of each judge."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A fitted logistic regression."""

    weights: tuple[float, ...]
    """[F] weights of the standardised features."""
    bias: float
    mean: tuple[float, ...]
    """[F] mean of each feature in the labelled phrases."""
    deviation: tuple[float, ...]
    """[F] standard deviation of each feature in the labelled phrases."""

    def probabilities(self, features: Floats) -> Floats:
        """[P] probability that people call each piece positive, or excited, from features [P, F]."""
        standard = (features - np.array(self.mean)) / np.array(self.deviation)
        score = np.clip(standard, -MAX_DEVIATIONS, MAX_DEVIATIONS) @ np.array(self.weights) + self.bias
        return 1 / (1 + np.exp(-score))


@dataclass(frozen=True, kw_only=True)
class Judges:
    """The judges of the evaluation."""

    judges: dict[str, Judge]
    permuted: dict[str, list[Judge]]
    cross_validated_accuracy: dict[str, float]
    """Balanced accuracy, cross-validated by series."""
    provenance: str

    def probabilities(self, features: Floats) -> dict[str, Floats]:
        """[P] probability of each judge, from features [P, 15]."""
        return {
            name: judge.probabilities(features_of_judge(features, name))
            for name, judge in self.judges.items()
        }


@cache
def load_judges() -> Judges:
    """Load the judges that ship with emoray."""
    fields = json.loads(JUDGES_FILE.read_text())
    return Judges(
        judges={name: _judge(values) for name, values in fields["judges"].items()},
        permuted={name: [_judge(one) for one in some] for name, some in fields["permuted"].items()},
        cross_validated_accuracy=fields["cross_validated_accuracy"],
        provenance=fields["provenance"],
    )


def judge_features(notes: Notes) -> Floats:
    """[15] features of a piece in the order of ``JUDGE_FEATURES``, each the mean over the windows.

    Raises:
        CorpusError: the piece has no notes.
    """
    if not len(notes):
        raise CorpusError("judge", "was given a piece without notes; judge music")
    last = max(0, len(notes) - WINDOW_NOTES)
    return np.mean(
        [_window(notes[first : first + WINDOW_NOTES]) for first in range(0, last + 1, HOP_NOTES)], axis=0
    )


def features_of_judge(features: Floats, judge: str) -> Floats:
    """The columns [P, F] that a judge uses, of features [P, 15]."""
    return features[:, [JUDGE_FEATURES.index(name) for name in FEATURES_OF[judge]]]


def fit_judge(features: Floats, labels: Sequence[int]) -> Judge:
    """Fit a judge on features [P, F] of labelled pieces; labels are -1 or +1, with balanced class weights."""
    from sklearn.linear_model import LogisticRegression

    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    standard = np.clip((features - mean) / deviation, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    fitted = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000).fit(standard, labels)
    weights, bias = fitted.coef_[0], float(fitted.intercept_[0])
    return Judge(weights=tuple(weights), bias=bias, mean=tuple(mean), deviation=tuple(deviation))


def cross_validated(features: Floats, labels: Sequence[int], groups: Sequence[str], folds: int) -> float:
    """Balanced accuracy of judges on groups that were held out of their fit."""
    from sklearn.model_selection import StratifiedGroupKFold

    truth, found = np.array(labels), np.zeros(len(labels))
    for fit, test in StratifiedGroupKFold(folds).split(features, truth, list(groups)):
        found[test] = fit_judge(features[fit], truth[fit]).probabilities(features[test]) - 0.5
    return float(np.mean([(np.sign(found[truth == label]) == label).mean() for label in (-1, 1)]))


def _judge(fields: dict[str, Any]) -> Judge:
    weights, mean, deviation = (tuple(fields[name]) for name in ("weights", "mean", "deviation"))
    return Judge(weights=weights, bias=fields["bias"], mean=mean, deviation=deviation)


def _window(notes: Notes) -> Floats:
    """[15] features of one window."""
    step, duration = steps(notes)[1:], notes["duration"].astype(np.float64)
    log_step, log_duration = np.log(np.maximum(step, 0.01)), np.log(np.maximum(duration, 0.01))
    onset, pitch = notes["onset"], notes["pitch"].astype(np.float64)
    seconds = max(float(onset[-1] - onset[0]), 0.05)
    profile = pitch_classes(notes["pitch"])
    by_key = agreements(profile)
    present = profile[profile > 0]
    return np.array([
        np.log(len(notes) / seconds),
        log_step.std() if len(step) else 0.0,
        log_duration.mean(),
        log_duration.std(),
        np.log(duration.sum() / max(sounding_seconds(notes), 0.01)),
        (step < CHORD_SECONDS).mean() if len(step) else 0.0,
        pitch.mean(),
        pitch.std(),
        pitch.max(),
        pitch.min(),
        by_key[:12].max() - by_key[12:].max(),
        by_key.max(),
        in_scale(profile).max(),
        float(-(present * np.log2(present)).sum()),
        np.abs(np.diff(pitch)).mean() if len(pitch) > 1 else 0.0,
    ])  # fmt: skip


def sounding_seconds(notes: Notes) -> float:
    """Seconds during which at least one note sounds."""
    onset, offset = notes["onset"], notes["onset"] + notes["duration"]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(offset)[:-1]])
    return float(np.maximum(0, offset - np.maximum(onset, before)).sum())
