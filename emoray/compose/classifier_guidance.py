"""Pulls: directions over the 128 pitches that an emotion favours, and how far to go along them.

Conventions
-----------
A direction ``[B, 128]`` says how much better each pitch fits the asked emotion; its unit does not matter.
Logits move along it until the Kullback-Leibler divergence from where they were reaches a budget, so no
direction can leave the music: a raw weight of 10 on the emotion score moves it by two octaves.

``original-logit``: the log-odds of the original system's emotion score, ``d_other - d_l``. ``logodds``: those
of a logistic regression on people's labels, over key-relative features of the last notes and the candidate
(majorness, clearness of key, share of notes outside the key's scale, mean pitch).

Letters: **B** rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emoray.compose.original_formulas import candidate_distances
from emoray.dataset.clusters import EmotionClusters
from emoray.dataset.keys import TEMPLATES, agreements, pitch_classes
from emoray.notes import Floats

RECENT = 48
"""Pitches that a direction looks back on."""
BUDGET = 0.15
"""Nats a note at strength 1."""
STEEPEST = 1e4
"""No direction is followed further: one that is flat leads nowhere."""
SCALES = np.sort(TEMPLATES, axis=1)[:, [5]] <= TEMPLATES
"""[24, 12] the seven pitch classes that each key rates highest."""


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
        valence: [B].
        weights: of ``majorness``, ``clearness``, ``outside`` and ``register``.
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
    pitch = np.arange(128)
    register = weights["register"] * pitch / np.maximum(there.sum(axis=1) + 1, 1)[:, None]
    return np.sign(valence)[:, None] * (score[:, pitch % 12] + register)


def label_features(pitch: NDArray[np.int64]) -> dict[str, float]:
    """What ``label_direction`` weighs, of some pitches [n] themselves."""
    profile = pitch_classes(pitch)
    by_key = agreements(profile)
    return {
        "majorness": float(by_key[:12].max() - by_key[12:].max()),
        "clearness": float(by_key.max()),
        "outside": float(profile[~SCALES[by_key.argmax()]].sum()),
        "register": float(pitch.mean()),
    }


def pulled(logits: Floats, direction: Floats, budget: Floats) -> Floats:
    """[B, 128] logits moved along a direction until they are ``budget`` nats from where they were.

    Bisection; a direction that cannot spend its budget is followed as far as ``STEEPEST``.
    """
    possible = np.isfinite(logits)
    start = log_chances(logits)
    centred = np.where(possible, direction - direction.mean(axis=1, keepdims=True), 0)
    low, high = np.zeros(len(logits)), np.full(len(logits), STEEPEST)
    for _ in range(50):
        middle = (low + high) / 2
        far = divergence(log_chances(start + middle[:, None] * centred), start) > budget
        low, high = np.where(far, low, middle), np.where(far, middle, high)
    moved: Floats = start + low[:, None] * centred
    return moved


def divergence(log_p: Floats, log_q: Floats) -> Floats:
    """[B] Kullback-Leibler divergence of p from q, nats, from log-chances [B, K]."""
    p = np.exp(log_p)
    apart = np.where(p > 0, log_p, 0) - np.where(p > 0, log_q, 0)
    total: Floats = (p * apart).sum(axis=1)
    return total


def log_chances(logits: Floats) -> Floats:
    """[B, K] logits to the logarithm of each choice's chance."""
    top = logits - logits.max(axis=1, keepdims=True)
    result: Floats = top - np.log(np.exp(top).sum(axis=1, keepdims=True))
    return result
