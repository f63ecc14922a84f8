"""Lead: from what the network plays uncond towards, and past, what it plays when told a target.

Conventions
-----------
A led row runs through the network twice, uncond and told. At each head its logits are ``l0 + w (l1 - l0)``,
l0 uncond and l1 told (classifier-free guidance, Ho and Salimans 2022), with w = ``bowed(strength)`` x the
mode's weight: a strength of 0 is the uncond network, bit for bit.

Letters: **B** rows, **L** led rows, **G** = B + L rows of the network, **K** choices of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emoray.compose.classifier_guidance import divergence, log_chances
from emoray.notes import N_PITCHES, Floats

WEIGHT = {"attributes": (1.0, 1.0), "cfg": (2.0, 1.1)}
"""Of the told pitch logits, and of the other told heads, at strength 1."""
CLASSES = np.arange(N_PITCHES) % 12
OCTAVES = -(-N_PITCHES // 12)
BOW = 0.6
"""Power of the strength."""
CALMING = 0.12
"""How far the temperature of times and velocities falls below 1 in led rows at strength 1: what is led
somewhere unusual is less sure of its rhythm."""


@dataclass(frozen=True, eq=False)
class Lead:
    """Which rows are led, and how far."""

    led: NDArray[np.int64]
    """[L] their places among the rows."""
    weights: Floats
    """[L, 2] of pitches and of the rest, at strength 1."""
    strength: Floats
    """[L]."""
    moved: Floats | None
    """[B] nats from the network's own chances to those that this note is drawn from; None: not measured."""

    def mixed(self, logits: Tensor) -> Floats:
        """[G, 1, K] logits to [B, K]: led rows go from uncond towards, and past, told, and calm down."""
        uncond, told = self._parted(logits)
        weight = self.weights[:, 1] * bowed(self.strength)
        calmed = 1 - CALMING * np.minimum(bowed(self.strength), 1)
        uncond[self.led] += weight[:, None] * (told - uncond[self.led])
        uncond[self.led] /= calmed[:, None]
        self.note_move(uncond, logits)
        return uncond

    def note_move(self, drawn_from: Floats, logits: Tensor) -> None:
        """Add how far the logits [B, K] that are drawn from lie from the network's own."""
        if self.moved is None:
            return
        own, _ = self._parted(logits)
        self.moved[:] += divergence(log_chances(drawn_from), log_chances(own))

    def mixed_pitches(self, logits: Tensor) -> Floats:
        """[G, 1, 128] logits to [B, 128]: what is told counts by pitch class.

        Each class gains what it gains from uncond to told; in which octave it is played is left to the
        uncond network, which spreads wider.
        """
        uncond, told = self._parted(logits)
        gained = by_class(told) - by_class(uncond[self.led])
        weight = self.weights[:, 0] * bowed(self.strength)
        uncond[self.led] += (weight[:, None] * gained)[:, CLASSES]
        return uncond

    def _parted(self, logits: Tensor) -> tuple[Floats, Floats]:
        """[G, 1, K] logits to those of uncond rows [B, K] and of told ones [L, K]."""
        found = logits[:, 0].cpu().numpy().astype(np.float64)
        rows = len(found) - len(self.led)
        return found[:rows].copy(), found[rows:]

    def both(self, decided: NDArray[np.generic], device: torch.device) -> Tensor:
        """[B] decisions to [G, 1]: a led row's second run is told the same."""
        twice = torch.from_numpy(np.concatenate([decided, decided[self.led]])).to(device)[:, None]
        return twice.float() if twice.is_floating_point() else twice


def bowed(strength: Floats) -> Floats:
    """How far a strength goes: half a strength should be half of what is heard, which grows slowly at first.

    >>> bowed(np.array([0.0, 0.5, 1.0])).round(2).tolist()
    [0.0, 0.66, 1.0]
    """
    return strength**BOW


def by_class(logits: Floats) -> Floats:
    """[L, 128] logits to the logarithm of each pitch class's chance, [L, 12]."""
    chances = np.zeros((len(logits), OCTAVES * 12))
    chances[:, :N_PITCHES] = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    classes = chances.reshape(-1, OCTAVES, 12).sum(axis=1)
    return np.log(classes / classes.sum(axis=1, keepdims=True) + 1e-12)
