"""Bending: the pitch logits of a batch whose rows may each have another guidance mode.

Conventions
-----------
One interface for all modes: logits, what was played and the emotion go in, logits come out, with no chance
for a pitch off the piano. ``none`` and the modes that lead the network through its condition (``attributes``,
``cfg``) leave the logits as they are.

Letters: **B** rows, **T** notes of context.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emoray.compose.classifier_guidance import BUDGET, label_direction, pulled, score_direction
from emoray.compose.original_formulas import candidate_scores, on_keyboard, original_logits
from emoray.compose.targets import fitted_map
from emoray.config import CONDITIONED_MODES, OriginalGuidance
from emoray.dataset.clusters import EmotionClusters
from emoray.notes import Floats

STRAIGHT = ("none", *CONDITIONED_MODES)
"""Modes that bend no logits."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """What guidance may look at; a row each."""

    window: Floats
    """[B, T, 3] the last notes, (pitch / 128, step, duration)."""
    recent: NDArray[np.int64]
    """[B, n] the last pitches, -1 where there is none."""
    step: Floats
    """[B] seconds, of the next note."""
    duration: Floats
    """[B] seconds, of the next note."""
    valence: Floats
    """[B]."""
    strength: Floats
    """[B]."""


def bent(
    modes: list[str], logits: Floats, played: Played, clusters: EmotionClusters, guidance: OriginalGuidance
) -> Floats:
    """[B, 128] logits as each row's mode bends them."""
    on_piano = on_keyboard(logits)
    bending = dict.fromkeys(mode for mode in modes if mode not in STRAIGHT)
    result = on_piano.copy() if bending else on_piano
    for mode in bending:
        rows = np.array([index for index, found in enumerate(modes) if found == mode])
        valence, strength = played.valence[rows], played.strength[rows]
        if mode == "original-literal":  # one score for all pitches cancels in the softmax: beta is left
            result[rows] = guidance.beta * logits[rows]
        elif mode in ("original", "original-tempered"):
            where = played.window[rows], played.step[rows], played.duration[rows], valence
            score = candidate_scores(*where, clusters)
            result[rows] = on_keyboard(original_logits(logits[rows], score, valence, strength, guidance))
        elif mode in ("original-logit", "logodds"):
            budget = BUDGET * (strength * np.abs(valence)) ** 2  # in its square, so that shifts are in line
            if mode == "original-logit":
                where = played.window[rows], played.step[rows], played.duration[rows], valence
                direction = score_direction(*where, clusters)
            else:
                direction = label_direction(played.recent[rows], valence, fitted_map().weights)
            result[rows] = pulled(on_piano[rows], direction, budget)
    return result
