"""Pitch guidance: the modes that act on the pitch logits; each sequence of a batch may have its own.

Conventions
-----------
One interface for all modes: logits, what was played and the emotion go in; guided logits come out, in which a
pitch off the piano has no probability. ``none`` and the modes that give the network a condition
(``attributes``, ``cfg``) leave the logits as they are. The original system's modes are computed by
``original_formulas.py``.

``original-logit`` and ``logodds`` are classifier guidance: a direction ``[B, 128]`` says how much better each
pitch fits the requested emotion, and its unit does not matter. The logits move along the direction until the
Kullback-Leibler divergence from where they were reaches a budget. So no direction can leave the music: a
fixed factor of 10 on the emotion score would move the music by two octaves.

The direction of ``original-logit`` is the log-odds of the original system's emotion score, ``d_other - d_l``.
That of ``logodds`` is the log-odds of a logistic regression on people's labels, over key-relative features of
the last notes and the candidate: majorness, clearness of the key, share of notes outside the key's scale,
mean pitch.

Letters: **B** sequences, **T** notes of context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emoray.compose.conditions import fitted_map
from emoray.compose.original_formulas import (
    candidate_distances,
    candidate_scores,
    on_keyboard,
    original_logits,
)
from emoray.compose.sampling import kl_divergence, log_probabilities
from emoray.config import CONDITIONED_MODES, OriginalGuidance
from emoray.dataset.clusters import EmotionClusters
from emoray.dataset.keys import TEMPLATES, agreements, pitch_classes
from emoray.notes import N_PITCHES, Floats

BUDGET = 0.15
"""Nats a note that classifier guidance may move the pitch distribution at strength 1."""
LONGEST_MOVE = 1e4
"""How far logits go along a direction at most, in multiples of it: a flat direction leads nowhere."""
SCALES = np.sort(TEMPLATES, axis=1)[:, [5]] <= TEMPLATES
"""[24, 12] the seven pitch classes that each key rates highest."""


@dataclass(frozen=True, kw_only=True)
class GuidanceInputs:
    """What pitch guidance may look at; one row a sequence."""

    window: Floats
    """[B, T, 3] the last notes, (pitch / 128, step, duration)."""
    recent: NDArray[np.int64]
    """[B, n] the last pitches, -1 where there is none."""
    step: Floats
    """[B] seconds, of the next note."""
    duration: Floats
    """[B] seconds, of the next note."""
    valence: Floats
    """[B] -1..1."""
    strength: Floats
    """[B] how far the emotion may pull."""


def guided(
    modes: Sequence[str],
    logits: Floats,
    inputs: GuidanceInputs,
    clusters: EmotionClusters,
    original: OriginalGuidance,
) -> Floats:
    """[B, 128] logits, guided by each sequence's mode."""
    on_piano = on_keyboard(logits)
    guiding = dict.fromkeys(mode for mode in modes if mode not in ("none", *CONDITIONED_MODES))
    result = on_piano.copy() if guiding else on_piano
    for mode in guiding:
        rows = np.array([index for index, found in enumerate(modes) if found == mode])
        valence, strength = inputs.valence[rows], inputs.strength[rows]
        where = inputs.window[rows], inputs.step[rows], inputs.duration[rows], valence
        if mode == "original-literal":  # one score for all pitches cancels in the softmax: beta is left
            result[rows] = original.beta * logits[rows]
        elif mode in ("original", "original-tempered"):
            score = candidate_scores(*where, clusters)
            result[rows] = on_keyboard(original_logits(logits[rows], score, valence, strength, original))
        elif mode in ("original-logit", "logodds"):
            # A small move along a direction costs its square in nats: a squared budget moves in proportion.
            budget = BUDGET * (strength * np.abs(valence)) ** 2
            if mode == "original-logit":
                direction = score_direction(*where, clusters)
            else:
                direction = label_direction(inputs.recent[rows], valence, fitted_map().weights)
            result[rows] = moved_by(on_piano[rows], direction, budget)
    return result


def score_direction(
    window: Floats, step: Floats, duration: Floats, valence: Floats, clusters: EmotionClusters
) -> Floats:
    """[B, 128] the emotion score's log-odds of each pitch, for the label that ``valence`` has."""
    distances = candidate_distances(window, step, duration, clusters)
    happier = distances[..., 1 - clusters.happy] - distances[..., clusters.happy]
    return np.sign(valence)[:, None] * happier


def label_direction(recent: NDArray[np.int64], valence: Floats, weights: dict[str, float]) -> Floats:
    """[B, 128] log-odds of the label for each pitch after the ``recent`` ones.

    Args:
        recent: [B, n] the last pitches, oldest first; -1 where there is none.
        valence: [B] whose sign is the label.
        weights: coefficients of ``majorness``, ``clearness``, ``outside`` and ``register``.
    """
    there = recent >= 0
    rows = np.repeat(np.arange(len(recent)), there.sum(axis=1))
    counts = np.zeros((len(recent), 12))
    np.add.at(counts, (rows, recent[there] % 12), 1)
    following = counts[:, None, :] + np.eye(12)  # [B, candidate class, 12]
    profile = following / following.sum(axis=-1, keepdims=True)
    by_key = agreements(profile)
    best = by_key.argmax(axis=-1)
    score = (
        weights["majorness"] * (by_key[..., :12].max(axis=-1) - by_key[..., 12:].max(axis=-1))
        + weights["clearness"] * by_key.max(axis=-1)
        + weights["outside"] * (profile * ~SCALES[best]).sum(axis=-1)
    )
    pitch = np.arange(N_PITCHES)
    register = weights["register"] * pitch / np.maximum(there.sum(axis=1) + 1, 1)[:, None]
    return np.sign(valence)[:, None] * (score[:, pitch % 12] + register)


def label_features(pitch: NDArray[np.int64]) -> dict[str, float]:
    """The features whose weights ``label_direction`` takes, of the pitches [n] themselves."""
    profile = pitch_classes(pitch)
    by_key = agreements(profile)
    return {
        "majorness": float(by_key[:12].max() - by_key[12:].max()),
        "clearness": float(by_key.max()),
        "outside": float(profile[~SCALES[by_key.argmax()]].sum()),
        "register": float(pitch.mean()),
    }


def moved_by(logits: Floats, direction: Floats, budget: Floats) -> Floats:
    """[B, 128] logits moved along a direction until they are ``budget`` nats [B] from where they were.

    The divergence grows with the distance, so bisection finds the distance. A direction that cannot spend its
    budget is followed as far as ``LONGEST_MOVE``.
    """
    possible = np.isfinite(logits)
    start = log_probabilities(logits)
    centred = np.where(possible, direction - direction.mean(axis=1, keepdims=True), 0)
    low, high = np.zeros(len(logits)), np.full(len(logits), LONGEST_MOVE)
    for _ in range(50):
        middle = (low + high) / 2
        far = kl_divergence(log_probabilities(start + middle[:, None] * centred), start) > budget
        low, high = np.where(far, low, middle), np.where(far, middle, high)
    moved: Floats = start + low[:, None] * centred
    return moved
