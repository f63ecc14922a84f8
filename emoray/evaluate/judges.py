"""Judges: classifiers fitted on people's labels, which say how positive and how excited a piece sounds.

Conventions
-----------
A judge is a logistic regression on features of windows of 128 notes, averaged over a piece, that know nothing
of how the piece was made. ``valence`` and ``arousal`` hear all features, ``valence_from_pitches`` only those
that no tempo can move. They are fitted on the half of the labelled phrases that guidance never sees
(``readers/annotations.py``) and shipped as coefficients (``judges.json``, by ``benchmarks/fit_judges.py``),
with the cross-validated accuracy that bounds what they can tell. ``shuffled`` holds judges of the same kind
whose labels were permuted before fitting: what they find is nothing.

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

FITTED = Path(__file__).parent / "judges.json"
WINDOW, HOP = 128, 64
"""Notes."""
TIMES = (
    "density", "log_step_spread", "log_duration", "log_duration_spread", "polyphony", "chords",
)  # fmt: skip
PITCHES = (
    "pitch", "pitch_spread", "highest", "lowest", "majorness", "clearness", "in_scale", "class_entropy",
    "leap",
)  # fmt: skip
JUDGED = TIMES + PITCHES
FURTHEST = 4.0
"""Standard deviations of the labelled phrases at which a feature is cut: other music lies far out."""
CHORD = 0.03
"""Seconds under which two onsets are one chord."""
MEASURES = {"valence": JUDGED, "arousal": JUDGED, "valence_from_pitches": PITCHES}
"""Each judge and what it hears."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A fitted logistic regression over the features in ``MEASURES``."""

    weights: tuple[float, ...]
    """[F] of features in their own units."""
    bias: float
    middle: tuple[float, ...]
    """[F] mean in the labelled phrases."""
    spread: tuple[float, ...]
    """[F] standard deviation there."""

    def chances(self, features: Floats) -> Floats:
        """[P, F] features to the chance [P] that people would call each piece positive, or excited."""
        standard = (features - np.array(self.middle)) / np.array(self.spread)
        score = np.clip(standard, -FURTHEST, FURTHEST) @ np.array(self.weights) + self.bias
        return 1 / (1 + np.exp(-score))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All judges of the evaluation."""

    judges: dict[str, Judge]
    shuffled: dict[str, list[Judge]]
    accuracy: dict[str, float]
    """Balanced, cross-validated by series: a ceiling."""
    provenance: str

    def chances(self, features: Floats) -> dict[str, Floats]:
        """[P, 15] features to chances [P] by judge."""
        return {name: judge.chances(heard(features, name)) for name, judge in self.judges.items()}


@cache
def bench() -> Bench:
    """The judges that ship with emoray."""
    fields = json.loads(FITTED.read_text())
    return Bench(
        judges={name: _judge(values) for name, values in fields["judges"].items()},
        shuffled={name: [_judge(one) for one in some] for name, some in fields["shuffled"].items()},
        accuracy=fields["accuracy"],
        provenance=fields["provenance"],
    )


def judged_features(notes: Notes) -> Floats:
    """[15] features of a piece in the order of ``JUDGED``, each the mean over its windows.

    Raises:
        CorpusError: it has no notes to judge.
    """
    if not len(notes):
        raise CorpusError("judge", "was given a piece without notes; judge music")
    last = max(0, len(notes) - WINDOW)
    return np.mean([_window(notes[first : first + WINDOW]) for first in range(0, last + 1, HOP)], axis=0)


def heard(features: Floats, measure: str) -> Floats:
    """[P, 15] features to those [P, F] that a judge hears."""
    return features[:, [JUDGED.index(name) for name in MEASURES[measure]]]


def fit_judge(features: Floats, labels: Sequence[int]) -> Judge:
    """Fit a judge on the features [P, F] of labelled pieces; labels are -1 or +1, both weigh alike."""
    from sklearn.linear_model import LogisticRegression

    middle, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    standard = np.clip((features - middle) / spread, -FURTHEST, FURTHEST)
    fitted = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000).fit(standard, labels)
    weights, bias = fitted.coef_[0], float(fitted.intercept_[0])
    return Judge(weights=tuple(weights), bias=bias, middle=tuple(middle), spread=tuple(spread))


def cross_validated(features: Floats, labels: Sequence[int], groups: Sequence[str], folds: int) -> float:
    """Balanced accuracy of judges on groups that they were not fitted on."""
    from sklearn.model_selection import StratifiedGroupKFold

    truth, found = np.array(labels), np.zeros(len(labels))
    for fit, test in StratifiedGroupKFold(folds).split(features, truth, list(groups)):
        found[test] = fit_judge(features[fit], truth[fit]).chances(features[test]) - 0.5
    return float(np.mean([(np.sign(found[truth == label]) == label).mean() for label in (-1, 1)]))


def _judge(fields: dict[str, Any]) -> Judge:
    weights, middle, spread = (tuple(fields[name]) for name in ("weights", "middle", "spread"))
    return Judge(weights=weights, bias=fields["bias"], middle=middle, spread=spread)


def _window(notes: Notes) -> Floats:
    """[15] features of one window."""
    step, duration = steps(notes)[1:], notes["duration"].astype(np.float64)
    log_step, log_duration = np.log(np.maximum(step, 0.01)), np.log(np.maximum(duration, 0.01))
    onset, pitch = notes["onset"], notes["pitch"].astype(np.float64)
    lasted = max(float(onset[-1] - onset[0]), 0.05)
    profile = pitch_classes(notes["pitch"])
    by_key = agreements(profile)
    present = profile[profile > 0]
    return np.array([
        np.log(len(notes) / lasted),
        log_step.std() if len(step) else 0.0,
        log_duration.mean(),
        log_duration.std(),
        np.log(duration.sum() / max(sounding_seconds(notes), 0.01)),
        (step < CHORD).mean() if len(step) else 0.0,
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
    """Seconds in which at least one note sounds."""
    onset, silent = notes["onset"], notes["onset"] + notes["duration"]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(silent)[:-1]])
    return float(np.maximum(0, silent - np.maximum(onset, before)).sum())
