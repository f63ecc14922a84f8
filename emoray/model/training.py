"""Training without Ray: when to slow down, stop or give up; and the baseline preset's epochs.

Order is an argument: which windows an epoch sees depends on (random seed, epoch, rank) alone, so a run
that was killed and resumed sees what an uninterrupted one would have seen.

Letters: **N** notes, **W** windows, **T** notes of context.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from emoray.config import BaselinePreset, ExpressivePreset, Preset
from emoray.dataset.windows import windows_at
from emoray.errors import TrainingError
from emoray.model.baseline import losses

Batches = Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]


def epoch_starts(
    starts: NDArray[np.int64], count: int, *, random_seed: int, epoch: int, rank: int
) -> NDArray[np.int64]:
    """[count] window starts of one epoch on one worker, sampled without replacement."""
    order = np.random.default_rng((random_seed, epoch, rank)).permutation(len(starts))
    return starts[order[:count]]


def batches(table: NDArray[np.float32], starts: NDArray[np.int64], window: int, size: int) -> Batches:
    """Windows x [size, T, 3] and next notes y [size, 3]; the last batch may be smaller."""
    for first in range(0, len(starts), size):
        yield windows_at(table, starts[first : first + size], window)


def train_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, epoch: Batches, preset: BaselinePreset
) -> float:
    """Update the network once for each batch; the mean loss over batches.

    Under DistributedDataParallel each worker must bring equally many batches.

    Raises:
        TrainingError: the gradient is not a number; the weights are as they were before that update.
    """
    network.train()
    device = next(network.parameters()).device
    total, updates = torch.zeros((), device=device), 0
    for x, y in epoch:
        loss = losses(network(_on(x, device)), _on(y, device), preset)["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        check_gradient(float(nn.utils.clip_grad_norm_(network.parameters(), preset.clip_norm)), updates)
        optimizer.step()
        total += loss.detach()
        updates += 1
    return float(total) / max(updates, 1)


@torch.no_grad()
def validation_sums(network: nn.Module, windows: Batches, preset: BaselinePreset) -> dict[str, float]:
    """Each part of the loss summed over windows, and how many windows: sums add up over workers."""
    network.eval()
    device = next(network.parameters()).device
    sums: dict[str, float] = {"windows": 0.0}
    for x, y in windows:
        sums["windows"] += len(x)
        for name, value in losses(network(_on(x, device)), _on(y, device), preset).items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(x)
    return sums


def check_gradient(norm: float, update: int) -> None:
    """Stop at a gradient whose norm is no number: its update would leave no weight that is one.

    Raises:
        TrainingError: the norm is infinite or not a number.
    """
    if not math.isfinite(norm):
        raise TrainingError("training", f"diverged: the gradient of update {update + 1} is {norm}; {REMEDY}")


def means(sums: dict[str, float]) -> dict[str, float]:
    """``validation_sums``, added up over workers, to ``validation_*`` means."""
    count = sums["windows"]
    return {f"validation_{name}": value / count for name, value in sums.items() if name != "windows"}


def pitch_nats(metrics: dict[str, float]) -> float:
    """Validation nats a pitch in the metrics of an epoch, of either preset."""
    name = "validation_pitch_nll" if "validation_pitch_nll" in metrics else "validation_pitch_nats"
    return metrics[name]


REMEDY = "train into a new folder with a lower --learning-rate or another --random-seed"
RESERVE = 0.05
"""Share of the time left that a plan does not count on."""


@dataclass(frozen=True)
class Standing:
    """Where a training run stands between two epochs; it travels with each of its checkpoints."""

    epoch: int = 0
    """Epochs done."""
    learning_rate: float = 1e-3
    best_loss: float = math.inf
    best_epoch: int = 0
    stalled: int = 0
    """Epochs since the lowest validation loss."""
    seconds: float = 0.0
    """Spent training, over all resumptions."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Metrics of each epoch done."""
    planned: int = 0
    """Epochs in all that a time limit leaves room for; 0: as many as the preset says."""

    def after(self, metrics: dict[str, float], preset: Preset) -> Standing:
        """The standing after one more epoch: half the learning rate at half the patience.

        The expressive preset does not look at this learning rate; its own follows the epochs planned.

        Raises:
            TrainingError: a loss of the epoch is not a number: there is nothing to compare it with.
        """
        for name in ("train_loss", "validation_loss"):
            if not math.isfinite(metrics.get(name, 0.0)):
                reason = (
                    f"diverged: the {name.replace('_', ' ')} of epoch {self.epoch + 1} is {metrics[name]}"
                )
                raise TrainingError("training", f"{reason}; {REMEDY}")
        better = metrics["validation_loss"] < self.best_loss
        stalled = 0 if better else self.stalled + 1
        slow_down = stalled > 0 and stalled % max(1, preset.patience // 2) == 0
        return replace(
            self,
            epoch=self.epoch + 1,
            learning_rate=self.learning_rate / 2 if slow_down else self.learning_rate,
            best_loss=metrics["validation_loss"] if better else self.best_loss,
            best_epoch=self.epoch + 1 if better else self.best_epoch,
            stalled=stalled,
            seconds=self.seconds + metrics["seconds"],
            history=[*self.history, metrics],
            planned=int(metrics.get("planned_epochs", self.planned)),
        )

    def planning(self, preset: Preset, max_seconds: float) -> Standing:
        """The standing with as many epochs planned as the time is expected to allow.

        Only the expressive preset plans, because its learning rate must have fallen to zero at the end. From
        the second epoch on, what the last epochs have taken (the median of three) tells how many fit; once
        the learning rate falls, a plan is never made longer. It depends on the standing and the limit alone,
        and is kept with the standing, so that a resumed run goes on with the plan it had.
        """
        if not isinstance(preset, ExpressivePreset) or self.epoch < 2 or math.isinf(max_seconds):
            return self
        left = max(0.0, max_seconds - self.seconds) * (1 - RESERVE)
        pace = statistics.median(metrics["seconds"] for metrics in self.history[-3:])
        fit = self.epoch + int(left / pace)
        falling = self.epoch > (1 - preset.decay) * self.planned > 0
        return replace(self, planned=min(self.planned if falling else preset.epochs, fit))

    def finished(self, preset: Preset, max_seconds: float = math.inf) -> str:
        """Why training is over, or an empty string. The time limit leaves room for one more epoch."""
        planned = self.planned or preset.epochs
        if self.epoch >= planned:
            return f"all {planned} epochs are done"
        if self.stalled >= preset.patience:
            return f"no lower validation loss for {preset.patience} epochs"
        if self.epoch and self.seconds * (self.epoch + 1) / self.epoch > max_seconds:
            return "the time is up"
        return ""


def _on(array: NDArray[np.float32], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array).to(device, non_blocking=True)
