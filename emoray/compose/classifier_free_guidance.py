"""Classifier-free guidance: how far a network's logits follow its condition.

Conventions
-----------
A conditional sequence runs through the network twice: without a condition (``uncond``) and with one
(``cond``, made by ``conditions.py``). At each head its logits become ``uncond + scale * (cond - uncond)`` (Ho
and Salimans 2022), with a guidance scale of the mode's own times ``effective(strength)``. So a strength of 0
is the unconditional network, bit for bit.

Letters: **B** sequences, **C** conditional sequences, **G** = B + C rows of the network, **K** choices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emoray.compose.sampling import kl_divergence, log_probabilities
from emoray.notes import N_PITCHES, Floats

GUIDANCE_SCALE = {"attributes": (1.0, 1.0), "cfg": (2.0, 1.1)}
"""Guidance scale of the pitch head, and that of the other heads, at strength 1."""
STRENGTH_EXPONENT = 0.6
COOLING = 0.12
"""How far the temperature of times and velocities falls below 1 in conditional sequences at strength 1: far
from the music that it was trained on, the network is less sure of its rhythm."""
CLASSES = np.arange(N_PITCHES) % 12
OCTAVES = -(-N_PITCHES // 12)


@dataclass(frozen=True, eq=False)
class ClassifierFreeGuidance:
    """The guidance of one decoding step: which sequences are conditional, and how far they go."""

    conditional: NDArray[np.int64]
    """[C] their places among the sequences."""
    scales: Floats
    """[C, 2] guidance scale of the pitch head and of the other heads, at strength 1."""
    strength: Floats
    """[C] how far the emotion may pull."""
    divergence: Floats | None
    """[B] nats from the network's own distributions to those that this note is sampled from; or None."""

    def guided(self, logits: Tensor) -> Floats:
        """[G, 1, K] logits to [B, K]: conditional sequences follow their condition, a little cooler."""
        uncond, cond = self._split(logits)
        far = effective(self.strength)
        scale = self.scales[:, 1] * far
        cooled = 1 - COOLING * np.minimum(far, 1)
        uncond[self.conditional] += scale[:, None] * (cond - uncond[self.conditional])
        uncond[self.conditional] /= cooled[:, None]
        self.measure(uncond, logits)
        return uncond

    def guided_pitches(self, logits: Tensor) -> Floats:
        """[G, 1, 128] logits to [B, 128]: conditional sequences follow their condition by pitch class.

        Each pitch class gains what it gains from ``uncond`` to ``cond``. In which octave it is played is left
        to the unconditional network, whose notes spread over more octaves.
        """
        uncond, cond = self._split(logits)
        gained = by_class(cond) - by_class(uncond[self.conditional])
        scale = self.scales[:, 0] * effective(self.strength)
        uncond[self.conditional] += (scale[:, None] * gained)[:, CLASSES]
        return uncond

    def measure(self, sampled_from: Floats, logits: Tensor) -> None:
        """Add how far the logits [B, K] that are sampled from lie from the network's own."""
        if self.divergence is None:
            return
        own, _ = self._split(logits)
        self.divergence[:] += kl_divergence(log_probabilities(sampled_from), log_probabilities(own))

    def doubled(self, decided: NDArray[np.generic], device: torch.device) -> Tensor:
        """[B] decisions to [G, 1]: both passes of a conditional sequence get the same."""
        twice = torch.from_numpy(np.concatenate([decided, decided[self.conditional]])).to(device)[:, None]
        return twice.float() if twice.is_floating_point() else twice

    def _split(self, logits: Tensor) -> tuple[Floats, Floats]:
        """[G, 1, K] logits to the unconditional ones [B, K] and the conditional ones [C, K]."""
        found = logits[:, 0].cpu().numpy().astype(np.float64)
        rows = len(found) - len(self.conditional)
        return found[:rows].copy(), found[rows:]


def effective(strength: Floats) -> Floats:
    """How far a strength goes: half a strength should be half of what is heard, which grows slowly at first.

    >>> effective(np.array([0.0, 0.5, 1.0])).round(2).tolist()
    [0.0, 0.66, 1.0]
    """
    return strength**STRENGTH_EXPONENT


def by_class(logits: Floats) -> Floats:
    """[C, 128] logits to the logarithm of each pitch class's probability, [C, 12]."""
    weights = np.zeros((len(logits), OCTAVES * 12))
    weights[:, :N_PITCHES] = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    classes = weights.reshape(-1, OCTAVES, 12).sum(axis=1)
    return np.log(classes / classes.sum(axis=1, keepdims=True) + 1e-12)
