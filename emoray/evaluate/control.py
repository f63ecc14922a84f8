"""Control: whether guidance towards happy and towards sad changes the music, and how much.

Conventions
-----------
A case is a guidance mode at a strength. Every case composes from the same seeds with the same random seeds,
once for each requested emotion. Judges measure the composed notes alone; they are fitted on labels that
guidance does not use (``evaluate/judges.py``). Differences are paired by seed, and bootstrap intervals
resample seeds.

Paired accuracy alone proves little: a tempo that is 10 % slower wins every pair, and nobody hears it.
Therefore the report also has the difference itself, the effect size, the share of pairs that differ by more
than ``CLEAR_DIFFERENCE``, and a judge that uses the pitches only. Centred accuracies have their threshold at
the median of the unguided music, because the judges find most of MAESTRO positive and excited.

Letters: **S** seeds, **F** features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emoray.dataset.keys import key_of, pitch_classes
from emoray.evaluate.judges import JUDGE_FEATURES, Judges, features_of_judge, judge_features
from emoray.evaluate.statistics import distinct_pitches
from emoray.notes import Floats, Notes, starting_at

N_SEEDS, SEED_NOTES, COMPOSED_NOTES = 200, 64, 250
"""The number of seeds, the notes of each, and the notes composed from each."""
SEED_STRIDE = 512
"""Notes between two seeds from one piece."""
LEAST_NOTES = 32
"""Notes of a piece that is judged; a shorter piece is a failure."""
CLEAR_DIFFERENCE = 0.05
RESAMPLES = 2000
QUADRANTS: dict[str, tuple[float, float]] = {
    "happy": (1.0, 1.0), "sad": (-1.0, -1.0), "tense": (-1.0, 1.0), "calm": (1.0, -1.0),
}  # fmt: skip
"""(valence, arousal) of a word for each quadrant; ``PAIR`` is compared."""
PAIR = ("happy", "sad")


@dataclass(frozen=True)
class Case:
    """A guidance mode at a strength."""

    mode: str
    strength: float = 1.0

    @property
    def name(self) -> str:
        """For example ``cfg 1``; ``none`` has no strength."""
        return self.mode if self.mode == "none" else f"{self.mode} {self.strength:g}"


UNGUIDED = Case("none")


def seeds_of(
    pieces: Sequence[Notes], count: int = N_SEEDS, composed: int = COMPOSED_NOTES
) -> tuple[list[Notes], list[Notes]]:
    """Take seeds from the openings of pieces, then from later on, with the real continuation of each.

    Returns:
        Up to ``count`` seeds of ``SEED_NOTES`` notes, and their continuations of ``composed`` notes.
    """
    seeds: list[Notes] = []
    real: list[Notes] = []
    longest = max((len(piece) for piece in pieces), default=0)
    for first in range(0, longest, SEED_STRIDE):
        for piece in pieces:
            whole = piece[first : first + SEED_NOTES + composed]
            if len(whole) == SEED_NOTES + composed and len(seeds) < count:
                seeds.append(starting_at(whole[:SEED_NOTES], 0.0))
                real.append(starting_at(whole[SEED_NOTES:], 0.0))
    return seeds, real


def is_music(notes: Notes) -> bool:
    """Whether a piece can be judged: it has enough notes, more than one pitch, and takes time."""
    return len(notes) >= LEAST_NOTES and len(set(notes["pitch"].tolist())) > 1 and notes["onset"][-1] > 0.5


def feature_table(pieces: Sequence[Notes]) -> Floats:
    """[S, F] features of composed pieces; NaN for a piece that cannot be judged."""
    rows = [
        judge_features(starting_at(notes, 0.0)) if is_music(notes) else np.full(len(JUDGE_FEATURES), np.nan)
        for notes in pieces
    ]
    return np.array(rows).reshape(-1, len(JUDGE_FEATURES))


def paired_effect(happy: Floats, sad: Floats, unguided: Floats, random_seed: int = 0) -> dict[str, Any]:
    """The effect of guidance on one judge, paired by seed.

    Args:
        happy: [S] the judge's probability for each piece that was guided towards happy; NaN for a failure.
        sad: [S] the same, guided towards sad, from the same seeds.
        unguided: [S] the same, without guidance.
        random_seed: of the bootstrap.

    Returns:
        ``difference`` of the means and its ``confidence_interval``; ``effect_size``, the mean difference in
        its standard deviations (Cohen's d of paired samples); ``paired_accuracy``, the share of pairs in the
        right order; ``clear_pairs``, the share that differs by more than ``CLEAR_DIFFERENCE``;
        ``centred_accuracy`` and the number of ``failures``.
    """
    failures = int((np.isnan(happy) | np.isnan(sad)).sum())
    difference = np.where(np.isnan(happy - sad), 0.0, happy - sad)
    resampled = np.random.default_rng(random_seed).integers(0, len(difference), (RESAMPLES, len(difference)))
    low, high = np.quantile(difference[resampled].mean(axis=1), [0.025, 0.975])
    deviation = difference.std()
    return {
        "difference": float(difference.mean()),
        "confidence_interval": [float(low), float(high)],
        "effect_size": float(difference.mean() / deviation) if deviation > 0 else 0.0,
        "paired_accuracy": float(np.mean(difference > 0) + np.mean(difference == 0) / 2),
        "clear_pairs": float(np.mean(difference > CLEAR_DIFFERENCE)),
        "centred_accuracy": centred_accuracy(happy, sad, unguided),
        "failures": failures,
    }


def centred_accuracy(high: Floats, low: Floats, unguided: Floats) -> float:
    """Balanced accuracy with the threshold at the unguided median; failures count as wrong."""
    middle = float(np.nanmedian(unguided))
    return float(np.mean(high > middle) + np.mean(low < middle)) / 2


def quadrant_accuracy(
    probabilities: Mapping[str, Mapping[str, Floats]], unguided: Mapping[str, Floats]
) -> float:
    """Share of pieces of the four quadrants whose valence and arousal are both on the requested side.

    Args:
        probabilities: [S] by emotion and judge.
        unguided: [S] by judge.
    """
    shares = []
    for name, (valence, arousal) in QUADRANTS.items():
        correct = [
            np.sign(probabilities[name][judge] - np.nanmedian(unguided[judge])) == np.sign(requested)
            for judge, requested in (("valence", valence), ("arousal", arousal))
        ]
        shares.append(np.mean(correct[0] & correct[1]))
    return float(np.mean(shares))


def control_report(
    composed: Mapping[str, Sequence[Notes]], unguided: Sequence[Notes], judges: Judges
) -> dict[str, Any]:
    """The effect of a case on each judge, on each feature and on the variety of the music.

    Args:
        composed: by emotion, the composed notes for each seed: ``happy`` and ``sad``, and ``tense`` and
            ``calm`` as well for ``quadrant_accuracy``.
        unguided: the composed notes for each seed without guidance.
        judges: of the evaluation.
    """
    features = {name: feature_table(pieces) for name, pieces in composed.items()}
    neutral = feature_table(unguided)
    probabilities = {name: judges.probabilities(rows) for name, rows in features.items()}
    without = judges.probabilities(neutral)
    happy, sad = (features[name] for name in PAIR)
    report: dict[str, Any] = {
        judge: paired_effect(probabilities["happy"][judge], probabilities["sad"][judge], without[judge])
        for judge in without
    }
    for judge in report:
        null = [
            np.nanmean(
                one.probabilities(features_of_judge(happy, judge))
                - one.probabilities(features_of_judge(sad, judge))
            )
            for one in judges.permuted[judge]
        ]
        report[judge]["permuted_labels"] = float(np.mean(null))
    if set(QUADRANTS) <= composed.keys():
        report["quadrant_accuracy"] = quadrant_accuracy(probabilities, without)
    deviation = np.array(judges.judges["valence"].deviation)
    report["feature_shifts"] = dict(
        zip(JUDGE_FEATURES, (np.nanmean(happy - sad, axis=0) / deviation).round(3).tolist(), strict=True)
    )
    report["variety"] = variety([notes for pieces in composed.values() for notes in pieces])
    return report


def variety(pieces: Sequence[Notes]) -> dict[str, float]:
    """Medians of what repetition lowers: pitch-class entropy in bits, distinct pitches in 100 notes."""
    entropies, distinct = [], []
    for notes in filter(len, pieces):
        share = pitch_classes(notes["pitch"])
        share = share[share > 0]
        entropies.append(-(share * np.log2(share)).sum())
        distinct.append(distinct_pitches(notes["pitch"].astype(np.int64)))
    return {
        "pitch_class_entropy": float(np.median(entropies)),
        "distinct_pitches": float(np.median(distinct)),
    }


def positive_control(real: Sequence[Notes]) -> dict[str, list[Notes]]:
    """Real music with a change whose effect is known: the parallel minor, 1.5 times slower.

    Pieces in minor are left out: they would become natural minor, which has less variety than they had.
    """
    major = [notes for notes in real if key_of(pitch_classes(notes["pitch"])) < 12]
    return {"happy": major, "sad": [_saddened(notes) for notes in major]}


def _saddened(notes: Notes) -> Notes:
    key = key_of(pitch_classes(notes["pitch"]))
    sad = notes.copy()
    lowered = np.isin((notes["pitch"].astype(np.int64) - key) % 12, (4, 9, 11))  # degrees 3, 6 and 7
    sad["pitch"] -= lowered.astype(np.uint8)
    sad["onset"] *= 1.5
    sad["duration"] *= np.float32(1.5)
    return sad
