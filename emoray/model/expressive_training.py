"""Training of the expressive network, without Ray: an epoch, a pass of validation, and the optimizer.

Conventions
-----------
The loss is the sum of four cross-entropies in nats a note. The LSTM's state is carried over the chunks of a
span and cut from the gradient between them. Matrix products run in bfloat16 where the hardware has it; the
losses and the weights are float32. Under DistributedDataParallel each worker must bring equally many batches.

The optimizer is Muon for the matrices between layers and AdamW for all the rest. Muon (Jordan et al. 2024)
turns the averaged gradient of a matrix into the nearest orthogonal one; with ``match_rms_adamw`` (Liu et al.
2025) its updates are as large as AdamW's: one learning rate serves both. It gets further than AdamW alone
with as many updates (``benchmarks/experiments.md``). Torch's Muon multiplies in bfloat16, which most
processors can only emulate, 20 times slower: there the same updates are computed in float32, by half as many
products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from emoray.config import ExpressivePreset
from emoray.dataset.spans import Spans
from emoray.model.expressive import Decided, ExpressiveNetwork, NoteInputs, State
from emoray.model.matrix import multiplies_bfloat16
from emoray.model.training import check_gradient

PARTS = ("step", "pitch", "duration", "velocity")
"""The four heads, in the order in which a note is decided."""


def learning_rate(update: int, updates: int, preset: ExpressivePreset) -> float:
    """The learning rate of an update: rises over ``warmup``, stays, falls to zero over the last ``decay``."""
    rising = min(1.0, (update + 1) / preset.warmup)
    falling = min(1.0, (updates - update) / max(1.0, preset.decay * updates))
    return preset.learning_rate * rising * falling


def fitted(preset: ExpressivePreset, notes: int, longest: int, workers: int = 1) -> ExpressivePreset:
    """A preset whose epochs, batches and warm-up suit a corpus; that of a large corpus stays as it is.

    An epoch reads no more spans than the corpus holds, in at least four batches if it can; the warm-up takes
    a fifth of all updates at most. Batches are shared equally by the workers.

    Args:
        preset: as it was asked for.
        notes: how many the training pieces of all workers hold.
        longest: notes of the longest piece.
        workers: how many share a batch.
    """
    spans = min(preset.epoch_spans, -(-notes // min(preset.span, longest - 1)))
    batch = max(1, min(preset.batch_size, spans // 4) // workers) * workers
    small = replace(preset, batch_size=batch, epoch_spans=max(1, spans // batch) * batch)
    updates = preset.epochs * epoch_updates(small, longest)
    return replace(small, warmup=min(preset.warmup, max(1, updates // 5)))


def epoch_updates(preset: ExpressivePreset, longest: int) -> int:
    """Updates of an epoch if every batch holds a span as long as the longest piece allows."""
    chunks = -(-min(preset.span, longest - 1) // preset.chunk)
    return preset.epoch_spans // preset.batch_size * chunks


def train_epoch(
    model: nn.Module,
    network: ExpressiveNetwork,
    optimizer: ExpressiveOptimizer,
    batches: Iterable[Spans],
    preset: ExpressivePreset,
    rate: Callable[[int], float],
) -> dict[str, float]:
    """Update the network once for each chunk of each batch.

    Args:
        model: the network, or what distributes it.
        network: the network itself.
        optimizer: that of its parameters.
        batches: spans side by side.
        preset: chunk length and clipping.
        rate: the learning rate of each update of this epoch.

    Returns:
        Mean nats of each part, and how many ``updates`` were made.

    Raises:
        TrainingError: the gradient is not a number; the weights are as they were before that update. Workers
            average their gradients, so all of them raise at the same update.
    """
    model.train()
    device = network.heads.weight.device
    sums, updates = torch.zeros(len(PARTS), device=device), 0
    for spans in batches:
        state = network.start(len(spans.pitch))
        for chunk in spans.chunks(preset.chunk):
            for group in optimizer.param_groups:
                group["lr"] = rate(updates)
            parts, state = nats(model, chunk, state, device)
            optimizer.zero_grad()
            parts.sum().backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(network.parameters(), preset.clip_norm)
            check_gradient(float(norm), updates)
            optimizer.step()
            state = state.detached()
            sums += parts.detach()
            updates += 1
    means = (sums / max(updates, 1)).tolist()
    return dict(zip(PARTS, means, strict=True)) | {"updates": float(updates)}


@torch.no_grad()
def validation_sums(
    network: ExpressiveNetwork, batches: Iterable[Spans], preset: ExpressivePreset
) -> dict[str, float]:
    """Nats of each part summed over notes, and how many ``notes``: sums add up over workers."""
    network.eval()
    device = network.heads.weight.device
    sums = dict.fromkeys([*PARTS, "notes"], 0.0)
    for spans in batches:
        state = network.start(len(spans.pitch))
        for chunk in spans.chunks(preset.chunk):
            parts, state = nats(network, chunk, state, device)
            count = float(chunk.mask.sum())
            sums["notes"] += count
            for name, value in zip(PARTS, parts.tolist(), strict=True):
                sums[name] += value * count
    return sums


def nats(model: nn.Module, chunk: Spans, state: State, device: torch.device) -> tuple[Tensor, State]:
    """Mean nats of each part over the notes of a chunk that its mask names, [4], and the state after it.

    A chunk of padding alone, where another worker's batch has longer spans, weighs nothing: it has a loss of
    0 and a gradient of 0, not the undefined mean of no notes.
    """
    pitch, step, duration, velocity, condition, mask = (
        torch.from_numpy(array).to(device, non_blocking=True)
        for array in (chunk.pitch, chunk.step, chunk.duration, chunk.velocity, chunk.condition, chunk.mask)
    )
    inputs = NoteInputs(pitch[:, :-1], step[:, :-1], duration[:, :-1], velocity[:, :-1])
    following = Decided(step[:, 1:], pitch[:, 1:], duration[:, 1:])
    with mixed_precision(device):
        out = model(inputs, condition, state, following)
    layers = len(state.layers)
    flat = out[4 : 4 + 2 * layers]
    after = State(tuple(zip(flat[::2], flat[1::2], strict=True)), *out[4 + 2 * layers :])
    network: Any = getattr(model, "module", model)
    targets = (
        network.step_bin(following.step), following.pitch,
        network.duration_bin(following.duration), velocity[:, 1:],
    )  # fmt: skip
    reduction = "mean" if chunk.mask.any() else "sum"
    losses = [
        functional.cross_entropy(logits.float()[mask], target[mask], reduction=reduction)
        for logits, target in zip(out[:4], targets, strict=True)
    ]
    return torch.stack(losses), after


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 matrix products, where they are fast."""
    return torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16(device))


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
        """The direction of a matrix's averaged gradients, with Nesterov momentum."""
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
    """Muon and AdamW as one optimizer: the state of AdamW's parameters is numbered after that of Muon's."""

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
        """The parameter groups of both; what is set in them takes effect."""
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
        """Restore what ``state_dict`` gave."""
        found = state["state"]
        muon = {index: values for index, values in found.items() if index < self.inner}
        adam = {index - self.inner: values for index, values in found.items() if index >= self.inner}
        for part, values in zip(self.parts, (muon, adam), strict=True):
            part.load_state_dict({"state": values, "param_groups": part.state_dict()["param_groups"]})
