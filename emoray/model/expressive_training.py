"""Training of the expressive network, without Ray: an epoch of updates, a pass of validation.

Conventions
-----------
The loss is the sum of four cross-entropies in nats a note. The LSTM's state is carried over the chunks of a
span and cut from the gradient between them. Matrix products run in bfloat16 where the hardware has it; the
losses and the weights are float32. Under DistributedDataParallel each worker must bring equally many batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from emoray.config import ExpressivePreset
from emoray.dataset.spans import Spans
from emoray.model.expressive import Decided, ExpressiveNetwork, Heard, State
from emoray.model.matrix import multiplies_bfloat16
from emoray.model.optimizer import ExpressiveOptimizer

PARTS = ("step", "pitch", "duration", "velocity")


def learning_rate(update: int, updates: int, preset: ExpressivePreset) -> float:
    """Rises over ``warmup`` updates, stays, then falls to zero over the last ``decay`` of them all."""
    rising = min(1.0, (update + 1) / preset.warmup)
    falling = min(1.0, (updates - update) / max(1.0, preset.decay * updates))
    return preset.learning_rate * rising * falling


def fitted(preset: ExpressivePreset, notes: int, longest: int, workers: int = 1) -> ExpressivePreset:
    """A preset whose epochs, batches and warm-up suit a corpus; that of a large corpus stays as it is.

    An epoch reads no more spans than the corpus holds, in at least four batches if it can; the warm-up takes
    a fifth of all updates at most. Batches are shared equally by the workers.

    Args:
        preset: as it was asked for.
        notes: of the training pieces of all workers.
        longest: notes of the longest piece.
        workers: how many.
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
        optimizer: of its parameters.
        batches: spans side by side.
        preset: chunk length and clipping.
        rate: the learning rate of each update of this epoch.

    Returns:
        Mean nats of each part, and how many ``updates`` were made.
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
            nn.utils.clip_grad_norm_(network.parameters(), preset.clip_norm)
            optimizer.step()
            state = _cut(state)
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
            count = float(chunk.known.sum())
            sums["notes"] += count
            for name, value in zip(PARTS, parts.tolist(), strict=True):
                sums[name] += value * count
    return sums


def nats(model: nn.Module, chunk: Spans, state: State, device: torch.device) -> tuple[Tensor, State]:
    """Mean nats of each part over the known notes of a chunk, [4], and the state after it."""
    pitch, step, duration, velocity, told, known = (
        torch.from_numpy(array).to(device, non_blocking=True)
        for array in (chunk.pitch, chunk.step, chunk.duration, chunk.velocity, chunk.told, chunk.known)
    )
    heard = Heard(pitch[:, :-1], step[:, :-1], duration[:, :-1], velocity[:, :-1])
    following = Decided(step[:, 1:], pitch[:, 1:], duration[:, 1:])
    with mixed_precision(device):
        out = model(heard, told, state, following)
    layers = len(state.layers)
    flat = out[4 : 4 + 2 * layers]
    after = State(tuple(zip(flat[::2], flat[1::2], strict=True)), *out[4 + 2 * layers :])
    network: Any = getattr(model, "module", model)
    targets = (
        network.step_bin(following.step), following.pitch,
        network.duration_bin(following.duration), velocity[:, 1:],
    )  # fmt: skip
    losses = [
        functional.cross_entropy(logits.float()[known], target[known])
        for logits, target in zip(out[:4], targets, strict=True)
    ]
    return torch.nan_to_num(torch.stack(losses)), after


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 matrix products, where they are fast."""
    return torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16(device))


def _cut(state: State) -> State:
    layers = tuple((h.detach().float(), c.detach().float()) for h, c in state.layers)
    return State(layers, state.ages.detach(), state.ring.detach(), state.pitch)
