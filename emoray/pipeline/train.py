"""Train: a corpus to a checkpoint, by Ray Train.

Each worker holds its share of the training pieces in memory (20 bytes a note) and cuts windows from it as
it goes, in an order that depends on (random seed, epoch, rank) alone. Validation is split over the workers
and summed. A checkpoint after each epoch holds network, optimizer and standing, so a killed run ends where
an uninterrupted one would have.

A run folder is a checkpoint (see ``model/checkpoint.py``) with ``run.json`` (what was asked),
``metrics.jsonl``, ``loss.png``, ``tensorboard/`` and ``state/`` (Ray's) beside it.
"""

from __future__ import annotations

import math
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray

from emoray.config import SeedPreset
from emoray.dataset import corpus
from emoray.dataset.windows import flatten, window_starts
from emoray.errors import ClusterError, CorpusError
from emoray.model import training
from emoray.model.network import SeedNetwork
from emoray.model.training import Standing
from emoray.pipeline.parts import over_parts
from emoray.pipeline.run_folder import RunFolder, load_state, save_state


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a preset is trained; none of it changes what the network is."""

    workers: int = 1
    cpus_per_worker: int | None = None
    """None: all CPUs of the cluster, shared equally."""
    max_minutes: float | None = None
    random_seed: int = 0
    max_failures: int = 3
    """How often a lost worker may restart the group from the last checkpoint."""

    @property
    def max_seconds(self) -> float:
        """Of training, over all resumptions."""
        return self.max_minutes * 60 if self.max_minutes else math.inf


def train(folder: Path, run: RunFolder, preset: SeedPreset, settings: TrainSettings) -> Standing:
    """Train ``preset`` on a corpus until it is finished; the state is in the run folder.

    Raises:
        CorpusError: no windows to train on or to validate with.
        ClusterError: the cluster is too small.
        CheckpointError: the run folder cannot be written.
    """
    cpus = check_cluster(settings)
    check_windows(folder, preset, settings)
    run.start()
    pieces = load_pieces(folder)
    scaling = ray.train.ScalingConfig(
        num_workers=settings.workers,
        use_gpu=ray.cluster_resources().get("GPU", 0) >= settings.workers,
        resources_per_worker={"CPU": cpus},
    )
    trainer = ray.train.torch.TorchTrainer(
        train_worker,
        train_loop_config={"run": run, "preset": preset, "settings": settings, "cpus": cpus},
        scaling_config=scaling,
        datasets=pieces,
        dataset_config=ray.train.DataConfig(datasets_to_split=["train"]),
        run_config=ray.train.RunConfig(
            name=run.state.name,
            storage_path=str(run.state.parent),
            failure_config=ray.train.FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        with run.watched(preset.epochs, settings.max_seconds), _interruptible():
            result = trainer.fit()
    except ray.train.TrainingFailedError as err:
        for failure in getattr(err, "worker_failures", {}).values():
            if isinstance(cause := getattr(failure, "cause", failure), OSError):
                raise run.unwritable(cause) from err
        raise
    assert result.checkpoint is not None, "every epoch reports a checkpoint"
    with result.checkpoint.as_directory() as state:
        standing, network = load_state(Path(state), SeedNetwork(preset.hidden), best=True)
    run.finish(network, preset, standing)
    return standing


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C as elsewhere: Ray Train's own handler ends the process with a code that says nothing."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        raise KeyboardInterrupt("interrupted; go on with --resume") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def check_cluster(settings: TrainSettings) -> int:
    """CPUs for each worker.

    Raises:
        ClusterError: there are not enough: Ray would wait for them without a word.
    """
    there = int(ray.cluster_resources().get("CPU", 0))
    cpus = settings.cpus_per_worker or max(1, there // settings.workers)
    if settings.workers * cpus > there:
        raise ClusterError(
            "train",
            f"{settings.workers} workers of {cpus} CPUs do not fit into {there}; lower --workers",
        )
    return cpus


def check_windows(folder: Path, preset: SeedPreset, settings: TrainSettings) -> None:
    """Refuse a corpus that gives a worker less than one batch: before it starts, not once it has.

    Raises:
        CorpusError: it is not a corpus, or too small.
    """
    corpus.open_corpus(folder)
    least = {"train": preset.batch_size * settings.workers, "validation": 1}
    for split, need in least.items():
        found = len(window_starts(corpus.piece_lengths(folder, split), preset.window))
        if found < need:
            reason = f"has {found} {split} windows of {preset.window} notes, {need} are needed"
            raise CorpusError(folder, f"{reason}; ingest more files or check the metadata's splits")


def load_pieces(folder: Path) -> dict[str, ray.data.Dataset]:
    """The training and validation pieces of a corpus, loaded: lazy data would wait for the workers' CPUs."""
    return {
        split: over_parts(folder, of_split, split=split).materialize() for split in ("train", "validation")
    }


def of_split(table: pa.Table, split: str) -> pa.Table:
    """Good rows of one split: runs in a worker."""
    good = [error is None and found == split for error, found in zip(
        table["error"].to_pylist(), table["split"].to_pylist(), strict=True
    )]  # fmt: skip
    return table.filter(pa.array(good, pa.bool_()))


@dataclass(frozen=True)
class _Windows:
    """What a worker cuts windows from."""

    table: NDArray[np.float32]
    """[N, 3] in model units."""
    starts: NDArray[np.int64]


def train_worker(config: dict[str, Any]) -> None:
    """The loop of one worker."""
    preset, settings, run = config["preset"], config["settings"], config["run"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(config["cpus"])
    torch.manual_seed(settings.random_seed)
    train_windows, validation = _windows("train", preset.window), _windows("validation", preset.window)
    network = SeedNetwork(preset.hidden)
    optimizer = torch.optim.Adam(network.parameters(), preset.learning_rate)
    standing = Standing(learning_rate=preset.learning_rate)
    best = {name: value.clone() for name, value in network.state_dict().items()}
    if saved := ray.train.get_checkpoint():
        with saved.as_directory() as state:
            standing, best = load_state(Path(state), network, optimizer)
    model = ray.train.torch.prepare_model(network)
    batch = max(1, preset.batch_size // world)
    count = int(_over_workers([min(len(train_windows.starts), preset.epoch_windows // world)], "min")[0])
    assert count >= batch, f"a worker's share has {count} windows, fewer than a batch of {batch}"
    while not standing.finished(preset, settings.max_seconds):
        began = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = standing.learning_rate
        starts = training.epoch_starts(
            train_windows.starts, count // batch * batch,
            random_seed=settings.random_seed, epoch=standing.epoch, rank=rank,
        )  # fmt: skip
        batches = training.batches(train_windows.table, starts, preset.window, batch)
        loss = training.train_epoch(model, optimizer, batches, preset)
        metrics = _validated(network, validation, preset, rank, world)
        seconds, mean_loss = _over_workers([time.monotonic() - began, loss], "max")
        metrics |= {
            "epoch": standing.epoch + 1, "train_loss": mean_loss, "learning_rate": standing.learning_rate,
            "windows": float(count // batch * batch * world), "seconds": seconds,
        }  # fmt: skip
        standing = standing.after(metrics, preset)
        if standing.stalled == 0:
            best = {name: value.clone() for name, value in network.state_dict().items()}
        with tempfile.TemporaryDirectory() as state:
            checkpoint = None
            if rank == 0:
                save_state(Path(state), standing, network, optimizer, best)
                checkpoint = ray.train.Checkpoint.from_directory(state)
                run.write_metrics(standing)
            ray.train.report(
                metrics, checkpoint=checkpoint, checkpoint_dir_name=f"epoch-{standing.epoch:04d}"
            )


def _windows(split: str, window: int) -> _Windows:
    """This worker's share of a split; sorted, because blocks arrive in any order."""
    pieces: list[tuple[str, Any]] = []
    for table in ray.train.get_dataset_shard(split).iter_batches(batch_size=None, batch_format="pyarrow"):
        pieces += [(record["path"], notes) for record, notes in corpus.pieces_of(table, split)]
    pieces.sort(key=lambda piece: piece[0])
    flat, lengths = flatten([notes for _, notes in pieces])
    return _Windows(flat, window_starts(lengths, window))


def _validated(
    network: SeedNetwork, windows: _Windows, preset: SeedPreset, rank: int, world: int
) -> dict[str, float]:
    """Validation means over evenly spaced windows, each worker doing its share."""
    stride = max(1, -(-len(windows.starts) // preset.validation_windows))
    share = windows.starts[::stride][rank::world]
    batches = training.batches(windows.table, share, preset.window, 1024)
    sums = training.validation_sums(network, batches, preset)
    added = _over_workers(list(sums.values()), "sum")
    return training.means(dict(zip(sums, added, strict=True)))


def _over_workers(values: list[float], how: str) -> list[float]:
    """Values reduced over all workers, the same on each: ``sum``, ``min`` or ``max``."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    reduced = torch.tensor(values, dtype=torch.float64, device=ray.train.torch.get_device())
    operation = getattr(torch.distributed.ReduceOp, how.upper())
    torch.distributed.all_reduce(reduced, op=operation)
    return reduced.tolist()
