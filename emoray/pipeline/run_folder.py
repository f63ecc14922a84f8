"""Run folder: what a training run keeps on disk, and how its standing travels from one epoch to the next.

State between epochs is safetensors for what is a tensor and JSON for the rest: no pickle.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from emoray.config import Preset
from emoray.dataset.clusters import EmotionClusters
from emoray.errors import CheckpointError, TrainingError
from emoray.model.checkpoint import NOTICES, Network, model_card, save_checkpoint
from emoray.model.expressive_training import ExpressiveOptimizer
from emoray.model.preset import CONFIG
from emoray.model.training import Standing, pitch_nats
from emoray.progress import Meter

RUN_SETTINGS, METRICS_LINES = "run.json", "metrics.jsonl"
DIVERGED = "diverged.json"
"""Says why the training stopped without an end; a run that is started again forgets it."""
Weights = dict[str, torch.Tensor]
Optimizer = torch.optim.Optimizer | ExpressiveOptimizer


@dataclass(frozen=True)
class RunFolder:
    """A run's folder; every path in it is absolute, because Ray's workers run elsewhere."""

    path: Path
    clusters: EmotionClusters
    settings: dict[str, Any]
    """The settings of the run, which ``run.json`` keeps; a resumed run must have the same."""

    @property
    def state(self) -> Path:
        """Ray's folder of the run."""
        return self.path / "state"

    @classmethod
    def at(
        cls, path: Path, settings: dict[str, Any], clusters: EmotionClusters, *, resume: bool
    ) -> RunFolder:
        """A new run folder, which ``start`` makes, or with ``resume`` an old one with the same settings.

        Raises:
            CheckpointError: it exists and ``resume`` is not set, or its settings differ.
        """
        path = path.resolve()
        before = path / RUN_SETTINGS
        if resume and before.is_file():
            old = json.loads(before.read_text())
            if changed := sorted(
                key for key in old.keys() | settings.keys() if old.get(key) != settings.get(key)
            ):
                reason = f"was started with other {', '.join(changed)}"
                raise CheckpointError(path, f"{reason}; repeat those or train into a new folder")
        elif path.exists() and any(path.iterdir()):
            raise CheckpointError(path, "exists already; go on with --resume or choose a new folder")
        return cls(path, clusters, settings)

    def start(self) -> None:
        """Make the folder and write down the settings.

        Raises:
            CheckpointError: it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / DIVERGED).unlink(missing_ok=True)
            _replace(self.path / RUN_SETTINGS, json.dumps(self.settings, indent=2) + "\n")
        except OSError as err:
            raise self.unwritable(err) from err

    def unwritable(self, err: OSError) -> CheckpointError:
        """The error of a folder that takes no more."""
        reason = f"cannot be written ({err.strerror or err})"
        return CheckpointError(self.path, f"{reason}; free space and go on with --resume")

    def note_divergence(self, err: TrainingError) -> None:
        """Write down why the training stops: a worker that raised would be started again, and diverge."""
        _replace(self.path / DIVERGED, json.dumps(err.args) + "\n")

    def check_divergence(self) -> None:
        """Raise what ``note_divergence`` has written down, if anything.

        Raises:
            TrainingError: the training diverged.
        """
        if (self.path / DIVERGED).is_file():
            _, reason = json.loads((self.path / DIVERGED).read_text())
            raise TrainingError(self.path, reason)

    @property
    def complete(self) -> bool:
        """Whether the run has ended and its checkpoint is there."""
        return (self.path / CONFIG).is_file()

    def standing(self, preset: Preset) -> Standing:
        """Where the run stands, by the epochs it has written down."""
        standing = Standing(learning_rate=preset.learning_rate)
        for metrics in self._epochs_done():
            standing = standing.after(metrics, preset)
        return standing

    def write_metrics(self, standing: Standing) -> None:
        """``metrics.jsonl``, a line for each epoch done, and the newest epoch for TensorBoard."""
        from tensorboardX import SummaryWriter

        lines = [json.dumps(metrics) for metrics in standing.history]
        _replace(self.path / METRICS_LINES, "\n".join(lines) + "\n")
        with SummaryWriter(str(self.path / "tensorboard"), purge_step=standing.epoch) as board:
            for name, value in standing.history[-1].items():
                board.add_scalar(name, value, standing.epoch)

    def finish(self, network: Network, preset: Preset, standing: Standing, *, half: bool = False) -> None:
        """Write the checkpoint of the best epoch and the picture of the losses."""
        from emoray.writers.plot import loss_curves

        metrics = {"best_epoch": standing.best_epoch, "seconds": round(standing.seconds, 1)}
        metrics |= {
            name: value
            for name, value in standing.history[standing.best_epoch - 1].items()
            if name != "seconds"
        }
        (self.path / "loss.png").write_bytes(loss_curves(standing.history))
        save_checkpoint(
            self.path,
            network=network,
            preset=preset,
            clusters=self.clusters,
            metrics=metrics,
            card=model_card(
                preset, metrics, origin=self._origin(), notice=NOTICES.get(self.settings.get("music", ""), "")
            ),
            half=half,
        )

    def _origin(self) -> str:
        corpus, random_seed = (
            self.settings.get("corpus", "unknown music"),
            self.settings.get("random_seed", 0),
        )
        return f"Trained by `emoray train` on {corpus}, with random seed {random_seed}."

    @contextmanager
    def watched(self, epochs: int, max_seconds: float) -> Iterator[None]:
        """Show progress while the workers write ``metrics.jsonl``."""
        over = threading.Event()
        earlier = self._epochs_done()
        left = max_seconds - sum(epoch["seconds"] for epoch in earlier)
        with Meter("train", epochs, "epochs", before=len(earlier), at_most=left) as meter:
            watcher = threading.Thread(target=self._watch, args=(meter, over), daemon=True)
            watcher.start()
            try:
                yield
            finally:
                over.set()
                watcher.join()

    def _epochs_done(self) -> list[dict[str, float]]:
        """The metrics of the epochs that are written down."""
        path = self.path / METRICS_LINES
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def _watch(self, meter: Meter, over: threading.Event) -> None:
        while True:
            ended = over.wait(1.0)
            for epoch in self._epochs_done()[meter.done :]:
                meter.advance(1, f"loss {epoch['validation_loss']:.4f}, pitch {pitch_nats(epoch):.3f} nats")
            if ended:
                return


def save_state(
    folder: Path, standing: Standing, network: Network, optimizer: Optimizer, best: Weights
) -> None:
    """All that the next epoch needs, in a folder."""
    moments = {
        f"{index}.{name}": value
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    for name, tensors in (("network", network.state_dict()), ("optimizer", moments), ("best", best)):
        save_file(
            {key: value.detach().cpu().contiguous() for key, value in tensors.items()},
            folder / f"{name}.safetensors",
        )
    (folder / "standing.json").write_text(json.dumps(dataclasses.asdict(standing)))


def load_state(
    folder: Path, network: Network, optimizer: Optimizer | None = None, *, best: bool = False
) -> tuple[Standing, Any]:
    """What ``save_state`` wrote, into ``network`` and ``optimizer``.

    Returns:
        The standing, and the best weights so far; with ``best``, the network holding them instead.
    """
    standing = Standing(**json.loads((folder / "standing.json").read_text()))
    weights = load_file(folder / "best.safetensors")
    network.load_state_dict(weights if best else load_file(folder / "network.safetensors"))
    if optimizer is not None:
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in load_file(folder / "optimizer.safetensors").items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        groups = optimizer.state_dict().get("param_groups", [])
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    return standing, network if best else weights


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
