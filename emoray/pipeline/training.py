"""Training: a corpus to a checkpoint, by Ray Train.

Each worker reads its share of the training pieces (every n-th) from the corpus, which all nodes must see, and
holds it in memory (20 bytes a note). ``training_workers.py`` says what a preset does with it. Validation is
split over the workers and summed. The checkpoint after each epoch holds network, optimizer and standing, so a
killed run ends where an undisturbed one would have.

With a time limit, the expressive preset plans how many epochs fit once it has timed two, so that its learning
rate ends at zero in time. The plan is kept with the standing: a run that is resumed after its second epoch
goes on with it.

A run folder is a checkpoint (``model/checkpoint.py``) with ``run.json`` (the settings), ``metrics.jsonl``,
``loss.png``, ``tensorboard/`` and ``state/`` (Ray's) beside it.
"""

from __future__ import annotations

import math
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch

from emoray.config import BaselinePreset, Preset
from emoray.dataset import corpus
from emoray.dataset.windows import window_starts
from emoray.errors import ClusterError, CorpusError, TrainingError
from emoray.model.checkpoint import Network, load_checkpoint, new_network
from emoray.model.training import Standing
from emoray.pipeline.resources import node_cpus, report_waits
from emoray.pipeline.run_folder import RunFolder, Weights, load_state, save_state
from emoray.pipeline.training_workers import (
    BaselineWorker,
    ExpressiveWorker,
    WorkerContext,
    over_workers,
    record_epoch,
)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a preset is trained; none of it changes what the network is."""

    workers: int = 1
    cpus_per_worker: int | None = None
    """None: as many as every worker can have on one node."""
    max_minutes: float | None = None
    random_seed: int = 0
    max_failures: int = 3
    """How often a lost worker may restart the group from the last checkpoint."""
    half: bool = False
    """Whether the checkpoint's weights are stored in half precision."""
    start: Path | None = None
    """A checkpoint of the same preset whose weights training starts from, on storage that all nodes share."""

    @property
    def max_seconds(self) -> float:
        """Of training, over all resumptions."""
        return self.max_minutes * 60 if self.max_minutes else math.inf


def train(folder: Path, run: RunFolder, preset: Preset, settings: TrainSettings) -> Standing:
    """Train ``preset`` on a corpus until it is finished; the state is in the run folder.

    Raises:
        CorpusError: nothing to train on or to validate with.
        ClusterError: the cluster is too small.
        CheckpointError: the run folder cannot be written.
        TrainingError: the training diverged.
    """
    cpus = check_cluster(settings)
    if isinstance(preset, BaselinePreset):
        check_windows(folder, preset, settings)
    else:
        check_notes(folder, settings)
    run.start()
    scaling = ray.train.ScalingConfig(
        num_workers=settings.workers,
        use_gpu=ray.cluster_resources().get("GPU", 0) >= settings.workers,
        resources_per_worker={"CPU": cpus},
    )
    trainer = ray.train.torch.TorchTrainer(
        train_worker,
        train_loop_config={
            "corpus": folder.resolve(),
            "run": run,
            "preset": preset,
            "cpus": cpus,
            "random_seed": settings.random_seed,
            "max_seconds": settings.max_seconds,
            "start": settings.start,
        },
        scaling_config=scaling,
        run_config=ray.train.RunConfig(
            name=run.state.name,
            storage_path=str(run.state.parent),
            failure_config=ray.train.FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        with report_waits("train", {"CPU": cpus}), run.watched(preset.epochs, settings.max_seconds):
            result = _fitted(trainer)
    except ray.train.TrainingFailedError as err:
        for failure in getattr(err, "worker_failures", {}).values():
            if isinstance(cause := getattr(failure, "cause", failure), OSError):
                raise run.unwritable(cause) from err
        raise
    run.check_divergence()
    assert result.checkpoint is not None, "every epoch reports a checkpoint"
    with result.checkpoint.as_directory() as state:
        standing, network = load_state(Path(state), new_network(preset), best=True)
    run.finish(network, preset, standing, half=settings.half)
    return standing


def _fitted(trainer: ray.train.torch.TorchTrainer) -> ray.train.Result:
    """Fit in another thread: the main one takes an interrupt at once, where Ray Train waits for its workers.

    Raises:
        KeyboardInterrupt: interrupted; the workers end with this process.
    """
    try:
        return ThreadPoolExecutor(1, "fit").submit(trainer.fit).result()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; go on with --resume") from None


def check_cluster(settings: TrainSettings) -> int:
    """CPUs for each worker: as many as it can have beside the others, for its CPUs are those of one node.

    Raises:
        ClusterError: the nodes have too few, and Ray would wait for more without a word.
    """
    nodes = node_cpus()
    sizes = [settings.cpus_per_worker] if settings.cpus_per_worker else range(max(nodes, default=0), 0, -1)
    for cpus in sizes:
        if sum(node // cpus for node in nodes) >= settings.workers:
            return cpus
    there = " + ".join(map(str, nodes)) or "no"
    cpus = settings.cpus_per_worker or 1
    reason = f"{settings.workers} workers of {cpus} CPUs do not fit into nodes of {there} CPUs"
    raise ClusterError("train", f"{reason}; lower --workers")


def check_windows(folder: Path, preset: BaselinePreset, settings: TrainSettings) -> None:
    """Refuse a corpus that gives a worker less than one batch: before it starts, not once it has.

    Raises:
        CorpusError: it is not a corpus, or too small.
    """
    corpus.open_corpus(folder)
    lengths = corpus.piece_lengths(folder, "train")
    shares = (lengths[rank :: settings.workers] for rank in range(settings.workers))
    found = {
        "train": min(len(window_starts(share, preset.window)) for share in shares),
        "validation": len(window_starts(corpus.piece_lengths(folder, "validation"), preset.window)),
    }
    least = {"train": max(1, preset.batch_size // settings.workers), "validation": 1}
    for split, need in least.items():
        if found[split] < need:
            a_worker = " for a worker" if split == "train" else ""
            reason = (
                f"has {found[split]} {split} windows of {preset.window} notes{a_worker}, {need} are needed"
            )
            raise CorpusError(folder, f"{reason}; ingest more files or check the metadata's splits")


def check_notes(folder: Path, settings: TrainSettings) -> None:
    """Refuse a corpus that leaves a worker without a note to predict.

    Raises:
        CorpusError: it is not a corpus, or too small.
    """
    corpus.open_corpus(folder)
    least = {"train": settings.workers, "validation": 1}
    for split, need in least.items():
        found = int((corpus.piece_lengths(folder, split) > 1).sum())
        if found < need:
            reason = f"has {found} {split} pieces of two notes or more, {need} are needed"
            raise CorpusError(
                folder, f"{reason}; ingest more files, check the metadata's splits or lower --workers"
            )


def train_worker(config: dict[str, Any]) -> None:
    """The loop of one worker."""
    preset, run, max_seconds = config["preset"], config["run"], config["max_seconds"]
    context = WorkerContext.here(config["random_seed"])
    torch.set_num_threads(config["cpus"])
    torch.manual_seed(context.random_seed)
    kind = BaselineWorker if isinstance(preset, BaselinePreset) else ExpressiveWorker
    worker = kind(preset, context, config["corpus"])
    network, optimizer = worker.network, worker.optimizer
    if config["start"]:
        network.load_state_dict(load_checkpoint(config["start"]).network.state_dict())
    standing = Standing(learning_rate=preset.learning_rate)
    best = _weights(network)
    model = ray.train.torch.prepare_model(network)  # first, so that the optimizer's state follows the weights
    if saved := ray.train.get_checkpoint():
        with saved.as_directory() as state:
            standing, best = load_state(Path(state), network, optimizer)
    while not standing.finished(preset, max_seconds):
        began = time.monotonic()
        try:
            trained = worker.train(model, standing)
            metrics = worker.validate() | {"epoch": standing.epoch + 1} | trained
            metrics["seconds"] = over_workers([time.monotonic() - began], "max")[0]
            standing = standing.after(metrics, preset).planning(preset, max_seconds)
        except TrainingError as err:  # on all workers alike; one that raised would be started again
            if context.rank == 0:
                run.note_divergence(err)
            return
        if standing.stalled == 0:
            best = _weights(network)
        with tempfile.TemporaryDirectory() as state:
            checkpoint = None
            if context.rank == 0:
                save_state(Path(state), standing, network, optimizer, best)
                checkpoint = ray.train.Checkpoint.from_directory(state)
                run.write_metrics(standing)
                record_epoch(standing)
            ray.train.report(
                metrics, checkpoint=checkpoint, checkpoint_dir_name=f"epoch-{standing.epoch:04d}"
            )


def _weights(network: Network) -> Weights:
    return {name: value.clone() for name, value in network.state_dict().items()}
