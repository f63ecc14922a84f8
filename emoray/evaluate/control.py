"""Control: does happy differ from sad, with the same seed and the same random seed, and what does it cost?

Conventions
-----------
Every case (a guidance mode at a strength) composes from the same seeds with the same random seeds, once for
each asked emotion. What is judged are the composed notes alone, by judges fitted on people's labels that
guidance never uses (``evaluate/judges.py``). Differences are paired by seed; intervals resample seeds.

Paired accuracy alone proves nothing: a tempo 10 % slower wins every pair and nobody hears it. So the size of
the difference comes first, the share of pairs that differ by more than ``CLEAR`` beside it, and a judge that
hears pitches only. Centred accuracies put the threshold at the median of the unguided output, because the
judges find most of MAESTRO positive and excited.

Letters: **S** seeds, **F** features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emoray.dataset.keys import key_of, pitch_classes
from emoray.evaluate.judges import JUDGED, Bench, heard, judged_features
from emoray.evaluate.statistics import distinct_pitches
from emoray.notes import Floats, Notes, starting_at

SEEDS, SEED_NOTES, COMPOSED = 200, 64, 250
"""How many seeds, notes of each, and notes composed from it."""
STRIDE = 512
"""Notes between two seeds from one piece."""
FEWEST = 32
"""Notes of a piece that is judged; a shorter one is a failure, not half of a pair."""
CLEAR = 0.05
RESAMPLED = 2000
EMOTIONS: dict[str, tuple[float, float]] = {
    "happy": (1.0, 1.0), "sad": (-1.0, -1.0), "tense": (-1.0, 1.0), "calm": (1.0, -1.0),
}  # fmt: skip
"""(valence, arousal): the four quadrants; happy against sad is the pair."""
PAIR = ("happy", "sad")


@dataclass(frozen=True)
class Case:
    """A guidance mode at a strength."""

    mode: str
    strength: float = 1.0

    @property
    def name(self) -> str:
        """``cfg 1``; a mode without strength by its name alone."""
        return self.mode if self.mode == "none" else f"{self.mode} {self.strength:g}"


UNGUIDED = Case("none")


def seeds_of(
    pieces: Sequence[Notes], count: int = SEEDS, composed: int = COMPOSED
) -> tuple[list[Notes], list[Notes]]:
    """Openings of pieces, then stretches further in, until there are ``count``; and what really follows each.

    Returns:
        Seeds of ``SEED_NOTES`` and real continuations of ``composed`` notes, as many; fewer than ``count``
        when the pieces hold no more.
    """
    seeds: list[Notes] = []
    real: list[Notes] = []
    longest = max((len(piece) for piece in pieces), default=0)
    for first in range(0, longest, STRIDE):
        for piece in pieces:
            whole = piece[first : first + SEED_NOTES + composed]
            if len(whole) == SEED_NOTES + composed and len(seeds) < count:
                seeds.append(starting_at(whole[:SEED_NOTES], 0.0))
                real.append(starting_at(whole[SEED_NOTES:], 0.0))
    return seeds, real


def is_music(notes: Notes) -> bool:
    """Whether there is something to judge: enough notes, more than one pitch, time that passes."""
    return len(notes) >= FEWEST and len(set(notes["pitch"].tolist())) > 1 and notes["onset"][-1] > 0.5


def features_of(pieces: Sequence[Notes]) -> Floats:
    """[S, F] features of composed pieces; a row of NaN for one that is not music."""
    rows = [
        judged_features(starting_at(notes, 0.0)) if is_music(notes) else np.full(len(JUDGED), np.nan)
        for notes in pieces
    ]
    return np.array(rows).reshape(-1, len(JUDGED))


def paired(happy: Floats, sad: Floats, unguided: Floats, random_seed: int = 0) -> dict[str, Any]:
    """How far one judge tells happy from sad.

    Args:
        happy: [S] chances that people would call each piece positive; NaN for a failure.
        sad: [S] the same, from the same seeds.
        unguided: [S] the same.
        random_seed: of the resampling.
    """
    failed = int((np.isnan(happy) | np.isnan(sad)).sum())
    apart = np.where(np.isnan(happy - sad), 0.0, happy - sad)
    drawn = np.random.default_rng(random_seed).integers(0, len(apart), (RESAMPLED, len(apart)))
    low, high = np.quantile(apart[drawn].mean(axis=1), [0.025, 0.975])
    spread = apart.std()
    return {
        "difference": float(apart.mean()),
        "interval": [float(low), float(high)],
        "paired_accuracy": float(np.mean(apart > 0) + np.mean(apart == 0) / 2),
        "clear": float(np.mean(apart > CLEAR)),
        "effect_size": float(apart.mean() / spread) if spread > 0 else 0.0,
        "centred_accuracy": centred(happy, sad, unguided),
        "failed": failed,
    }


def centred(high: Floats, low: Floats, unguided: Floats) -> float:
    """Share of pieces on the right side of the unguided median, both sides alike; failures are wrong."""
    middle = float(np.nanmedian(unguided))
    return float(np.mean(high > middle) + np.mean(low < middle)) / 2


def quadrant_accuracy(chances: Mapping[str, Mapping[str, Floats]], unguided: Mapping[str, Floats]) -> float:
    """Share of pieces of all four quadrants whose valence and arousal both come out on the asked side.

    Args:
        chances: by emotion, by judge: [S].
        unguided: by judge: [S].
    """
    right = []
    for name, (valence, arousal) in EMOTIONS.items():
        sides = [
            np.sign(chances[name][judge] - np.nanmedian(unguided[judge])) == np.sign(asked)
            for judge, asked in (("valence", valence), ("arousal", arousal))
        ]
        right.append(np.mean(sides[0] & sides[1]))
    return float(np.mean(right))


def control_report(
    composed: Mapping[str, Sequence[Notes]], unguided: Sequence[Notes], judges: Bench
) -> dict[str, Any]:
    """What the judges hear of a case, and what happens to the music's variety.

    Args:
        composed: by emotion, a piece for each seed, without it; ``happy`` and ``sad``, and for the
            accuracy of quadrants ``tense`` and ``calm`` as well.
        unguided: a piece for each seed.
        judges: who listens.
    """
    features = {name: features_of(pieces) for name, pieces in composed.items()}
    neutral = features_of(unguided)
    chances = {name: judges.chances(rows) for name, rows in features.items()}
    without = judges.chances(neutral)
    happy, sad = (features[name] for name in PAIR)
    report: dict[str, Any] = {
        judge: paired(chances["happy"][judge], chances["sad"][judge], without[judge]) for judge in without
    }
    for judge in report:
        by_chance = [
            np.nanmean(one.chances(heard(happy, judge)) - one.chances(heard(sad, judge)))
            for one in judges.shuffled[judge]
        ]
        report[judge]["shuffled_labels"] = float(np.mean(by_chance))
    if set(EMOTIONS) <= composed.keys():
        report["quadrants"] = quadrant_accuracy(chances, without)
    spread = np.array(judges.judges["valence"].spread)
    report["shifts"] = dict(
        zip(JUDGED, (np.nanmean(happy - sad, axis=0) / spread).round(3).tolist(), strict=True)
    )
    report["variety"] = variety([notes for pieces in composed.values() for notes in pieces])
    return report


def variety(pieces: Sequence[Notes]) -> dict[str, float]:
    """Medians of what a drone lacks: pitch-class entropy, bits, and distinct pitches in 100 notes."""
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


def known_effect(real: Sequence[Notes]) -> dict[str, list[Notes]]:
    """A rule whose effect people know, on real music: the parallel minor, 1.5 times slower. A ceiling.

    Only pieces in major take part: a minor one would become natural minor, which is cleaner than it was.
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
