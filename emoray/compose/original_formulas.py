"""Original formulas: how the original system lets an emotion change the next note.

Conventions
-----------
Float64 throughout. ``valence`` is the original system's label l, or any number between -1 and 1: its sign is
the label and its size multiplies the pull. A strength of 0 is mode ``none``, whatever the mode.
``docs/original-system.md`` describes the formulas and where they contradict each other.

``original`` resolves the contradictions so that the formulas act: one emotion score for each candidate pitch,
the sum in its denominator over the two centroids, and gamma = abs(1 - g).

A temperature of 2 on half the logits mostly adds noise. ``original-tempered`` is the same with a temperature
of beta, so that a strength towards 0 comes to the network's own distribution and the score pulls four times
as hard.

``original-literal`` takes the formulas by the letter: one score for the whole window (which no softmax can
see), features as they are, gamma = 1 - abs(g) with whatever sign comes out, no piano keyboard.

Letters: **B** sequences in a batch, **T** notes of context.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from emoray.config import OriginalGuidance
from emoray.dataset.clusters import FEATURES, EmotionClusters
from emoray.dataset.windows import DURATION, PITCH, STEP
from emoray.notes import HIGHEST_KEY, LOWEST_KEY, N_PITCHES, Floats

OFF_KEYBOARD = (np.arange(N_PITCHES) < LOWEST_KEY) | (np.arange(N_PITCHES) > HIGHEST_KEY)
"""[128] pitches that no piano has."""
N_TIMES = 6
"""How many features are times; they come first."""
LEAST_TIME_FACTOR = 0.1
"""Times are never scaled below this factor, whatever the strength."""


def emotion_score(distance_to_label: Floats, distance_to_other: Floats) -> Floats:
    """The original system's score, 1 - exp(d_l) / sum over both centroids of exp(d): nearer is higher, 0..1.

    For two centroids it is the logistic function of the difference, which cannot overflow.

    >>> round(float(emotion_score(np.float64(1.0), np.float64(2.0))), 6)
    0.731059
    """
    apart = np.clip(distance_to_other - distance_to_label, -700, 700)
    return 1 / (1 + np.exp(-apart))


def candidate_features(window: Floats, step: Floats, duration: Floats) -> Floats:
    """Features of each window with each candidate pitch appended, in closed form.

    Args:
        window: [B, T, 3] model units.
        step: [B] predicted seconds of the next note.
        duration: [B] the same.

    Returns:
        [B, 128, 9] in the order of ``FEATURES``.
    """
    times = np.broadcast_to(
        _time_features(window, step, duration)[:, None], (len(window), N_PITCHES, N_TIMES)
    )
    return np.concatenate([times, np.stack(_pitch_features(window), axis=-1)], axis=-1)


def candidate_distances(window: Floats, step: Floats, duration: Floats, clusters: EmotionClusters) -> Floats:
    """[B, 128, 2] distances of ``candidate_features`` from the centroids.

    A candidate changes features of pitch alone, so what times add to a distance is worked out once a window.
    """
    times = _time_features(window, step, duration)
    nine = np.concatenate([times, np.zeros((len(times), len(FEATURES) - N_TIMES))], axis=1)
    times = clusters.standardised(nine)[:, :N_TIMES]
    standard = [
        (pitches - mean) / scale
        for pitches, mean, scale in zip(
            _pitch_features(window), clusters.mean[N_TIMES:], clusters.scale[N_TIMES:], strict=True
        )
    ]
    distances = np.empty((len(window), N_PITCHES, len(clusters.centroids)))
    for number, centroid in enumerate(np.array(clusters.centroids)):
        by_time = times - centroid[:N_TIMES]
        squares = np.repeat((by_time * by_time).sum(axis=1)[:, None], N_PITCHES, axis=1)
        for pitches, middle in zip(standard, centroid[N_TIMES:], strict=True):
            apart = pitches - middle
            squares += apart * apart
        distances[..., number] = np.sqrt(squares)
    return distances


def _time_features(window: Floats, step: Floats, duration: Floats) -> Floats:
    """[B, 6] mean, maximum and deviation of step and of duration, the next note's among them."""
    times = np.concatenate(
        [window[:, :, [STEP, DURATION]], np.stack([step, duration], axis=1)[:, None]], axis=1
    )
    features: Floats = np.stack([times.mean(axis=1), times.max(axis=1), times.std(axis=1)], axis=-1)
    return features.reshape(len(window), N_TIMES)


def _pitch_features(window: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, maximum and deviation of the pitches with each candidate appended, [B, 128] each."""
    pitch = np.rint(window[:, :, PITCH] * N_PITCHES)
    candidate = np.arange(N_PITCHES, dtype=np.float64)
    count = window.shape[1] + 1
    mean = (pitch.sum(axis=1)[:, None] + candidate) / count
    square = ((pitch * pitch).sum(axis=1)[:, None] + candidate * candidate) / count
    top = np.maximum(pitch.max(axis=1)[:, None], candidate)
    return mean, top, np.sqrt(np.maximum(square - mean * mean, 0))


def candidate_scores(
    window: Floats, step: Floats, duration: Floats, valence: Floats, clusters: EmotionClusters
) -> Floats:
    """[B, 128] emotion score of each candidate pitch, for the label that ``valence`` has."""
    distances = candidate_distances(window, step, duration, clusters)
    return _score(distances, valence[:, None], clusters)


def window_score(window: Floats, valence: Floats, clusters: EmotionClusters) -> Floats:
    """[B] one score for a whole window, from features in their own units: ``original-literal`` only."""
    rows = []
    for column in (window[:, :, STEP], window[:, :, DURATION], window[:, :, PITCH] * N_PITCHES):
        rows += [column.mean(axis=1), column.max(axis=1), column.std(axis=1)]
    apart = np.stack(rows, axis=1)[:, None, :] - clusters.musical_centroids()
    return _score(np.sqrt((apart * apart).sum(axis=-1)), valence, clusters)


def _score(distances: Floats, valence: Floats, clusters: EmotionClusters) -> Floats:
    happy, sad = distances[..., clusters.happy], distances[..., 1 - clusters.happy]
    is_happy = valence >= 0
    return emotion_score(np.where(is_happy, happy, sad), np.where(is_happy, sad, happy))


def original_logits(
    logits: Floats, score: Floats, valence: Floats, strength: Floats, guidance: OriginalGuidance
) -> Floats:
    """[B, 128] the original system's (alpha x score + beta x logits), before its temperature.

    Args:
        logits: [B, 128] the network's own.
        score: [B, 128]: one score for all pitches would cancel in the softmax.
        valence: [B].
        strength: [B] multiplies alpha, as the size of the valence does.
        guidance: alpha and beta.
    """
    assert score.shape == logits.shape, "one score per pitch"
    alpha = guidance.alpha * strength * np.abs(valence)
    return alpha[:, None] * score + guidance.beta * logits


def on_keyboard(logits: Floats) -> Floats:
    """[B, 128] the same logits, without a probability for a pitch off the piano."""
    return np.where(OFF_KEYBOARD, -np.inf, logits)


def original_gamma(sampled: float) -> float:
    """Gamma or delta from a sample g of N(1, sigma), so that happy is always shorter: abs(1 - g)."""
    return abs(1 - sampled)


def original_literal_gamma(sampled: float) -> float:
    """Gamma or delta by the letter of the original system, 1 - abs(g): negative half the time."""
    return 1 - abs(sampled)


GAMMA: dict[str, Callable[[float], float]] = {
    "original": original_gamma,
    "original-tempered": original_gamma,
    "original-literal": original_literal_gamma,
}
"""Modes that scale times by the original system's gamma and delta."""


def prescribed_temperature(mode: str, guidance: OriginalGuidance) -> float:
    """What divides the guided logits in a mode, unless a request says otherwise.

    >>> [prescribed_temperature(mode, OriginalGuidance()) for mode in ("none", "original")]
    [1.0, 2.0]
    """
    prescribed = {
        "original": guidance.temperature,
        "original-literal": guidance.temperature,
        "original-tempered": guidance.beta,
    }
    return prescribed.get(mode, 1.0)


def tempo_factor(arousal: float, strength: float, spread: float) -> float:
    """What times are multiplied by as they are written, in the modes that are not the original system's.

    Args:
        arousal: -1 calm (slower) .. 1 excited (faster).
        strength: how far the emotion may pull.
        spread: natural logarithm of the factor at arousal -1 and strength 1.
    """
    return math.exp(-float(np.clip(arousal * strength, -2, 2)) * spread)


def time_factor(valence: float, strength: float, gamma: float) -> float:
    """What a predicted step or duration is multiplied by: 1 - l x gamma.

    >>> time_factor(1, 1, 0.1), time_factor(-1, 1, 0.1)
    (0.9, 1.1)
    """
    return max(LEAST_TIME_FACTOR, 1 - valence * strength * gamma)
