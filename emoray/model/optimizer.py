"""Optimizer of the expressive preset: Muon for the matrices between layers, AdamW for all the rest.

Muon (Jordan et al. 2024) turns the averaged gradient of a matrix into the nearest orthogonal one; with
``match_rms_adamw`` (Liu et al. 2025) its updates are as large as AdamW's: one learning rate serves both. It
gets further than AdamW alone with as many updates (``benchmarks/experiments.md``).
"""

from __future__ import annotations

from typing import Any

import torch

from emoray.config import ExpressivePreset
from emoray.model.expressive import ExpressiveNetwork


class ExpressiveOptimizer:
    """Both, as one: the state of AdamW's parameters is numbered after that of Muon's."""

    def __init__(self, network: ExpressiveNetwork, preset: ExpressivePreset) -> None:
        named = dict(network.named_parameters())
        inner = [name for name in named if name == "heads.weight" or name.startswith("lstm.")]
        inner = [name for name in inner if named[name].ndim == 2]
        rate, decay = preset.learning_rate, preset.weight_decay
        self.inner = len(inner)
        self.parts: tuple[torch.optim.Optimizer, torch.optim.Optimizer] = (
            torch.optim.Muon(
                [named.pop(name) for name in inner], rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(list(named.values()), rate, weight_decay=decay),
        )

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of both; what is set in them takes effect."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        """One update."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {number of the parameter: its tensors}}``."""
        muon, adam = (part.state_dict()["state"] for part in self.parts)
        return {"state": muon | {index + self.inner: values for index, values in adam.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What ``state_dict`` gave."""
        found = state["state"]
        muon = {index: values for index, values in found.items() if index < self.inner}
        adam = {index - self.inner: values for index, values in found.items() if index >= self.inner}
        for part, values in zip(self.parts, (muon, adam), strict=True):
            part.load_state_dict({"state": values, "param_groups": part.state_dict()["param_groups"]})
