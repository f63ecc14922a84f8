"""Optimizer of the expressive preset: Muon for the matrices between layers, AdamW for all the rest.

Muon (Jordan et al. 2024) turns the averaged gradient of a matrix into the nearest orthogonal one; with
``match_rms_adamw`` (Liu et al. 2025) its updates are as large as AdamW's: one learning rate serves both. It
gets further than AdamW alone with as many updates (``benchmarks/experiments.md``). Torch's Muon multiplies in
bfloat16, which most processors can only emulate, 20 times slower: there the same steps are taken in float32,
by half as many products.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, distributed

from emoray.config import ExpressivePreset
from emoray.model.expressive import ExpressiveNetwork
from emoray.model.matrix import multiplies_bfloat16


class Float32Muon(torch.optim.Muon):
    """``torch.optim.Muon`` with Nesterov momentum and ``match_rms_adamw``, its products in float32."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; its state is that of torch's. Workers share the work: each has the same gradients."""
        assert closure is None, "gradients are there already"
        rank, world = place_among_workers()
        for group in self.param_groups:
            directions = [self._direction(weight, group) for weight in group["params"]]
            for index in range(rank, len(directions), world):
                directions[index] = orthogonal(directions[index], group).contiguous()
            for index, (weight, direction) in enumerate(zip(group["params"], directions, strict=True)):
                if world > 1:
                    distributed.broadcast(direction, index % world)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction, alpha=-0.2 * group["lr"] * math.sqrt(max(weight.shape)))

    def _direction(self, weight: Tensor, group: dict[str, Any]) -> Tensor:
        """Where the averaged gradients of a matrix point to."""
        held, grad = self.state[weight], weight.grad
        assert grad is not None
        if "momentum_buffer" not in held:
            held["momentum_buffer"] = torch.zeros_like(grad)
        average = held["momentum_buffer"].lerp_(grad, 1 - group["momentum"])
        return grad.lerp(average, group["momentum"]).contiguous()


def place_among_workers() -> tuple[int, int]:
    """(rank, how many) of the workers that train together."""
    together = distributed.is_available() and distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)


def orthogonal(matrix: Tensor, group: dict[str, Any]) -> Tensor:
    """Nearly the nearest orthogonal matrix, by Newton and Schulz's iteration with a group's coefficients.

    Each step multiplies the matrix by a polynomial of its square, and these commute: so they are multiplied
    with each other, on the short side, and with the matrix once. That is about half of the products.
    """
    a, b, c = group["ns_coefficients"]
    wide = matrix.T if len(matrix) > matrix.shape[1] else matrix
    x = wide / wide.norm().clamp(min=group["eps"])
    square, turned = x @ x.T, None
    for left in reversed(range(group["ns_steps"])):
        factor = torch.addmm(square, square, square, beta=b, alpha=c)
        factor.diagonal().add_(a)
        turned = factor if turned is None else factor @ turned
        if left:
            square = factor @ square @ factor
    x = x if turned is None else turned @ x
    return x.T if len(matrix) > matrix.shape[1] else x


class ExpressiveOptimizer:
    """Both, as one: the state of AdamW's parameters is numbered after that of Muon's."""

    def __init__(self, network: ExpressiveNetwork, preset: ExpressivePreset) -> None:
        named = dict(network.named_parameters())
        inner = [name for name in named if name == "heads.weight" or name.startswith("lstm.")]
        inner = [name for name in inner if named[name].ndim == 2]
        rate, decay = preset.learning_rate, preset.weight_decay
        self.inner = len(inner)
        muon = torch.optim.Muon if multiplies_bfloat16(network.heads.weight.device) else Float32Muon
        self.parts: tuple[torch.optim.Optimizer, torch.optim.Optimizer] = (
            muon(
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
