"""Training whose worker and whose driver are killed.

What may be lost: nothing but the epoch under way, which is done again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from faults.batches import processes_of_these_tests
from faults.tunes import corpus_of_tunes
from safetensors.torch import load_file

from emoray.config import ExpressivePreset
from emoray.model.training import Standing
from emoray.pipeline.cluster import cluster_corpus
from emoray.pipeline.run_folder import RunFolder
from emoray.pipeline.train import TrainSettings, train

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

PRESET = ExpressivePreset(  # as in two_nodes.py
    embedding=16, hidden=16, head=16, chunk=8, span=32, lookahead=8, batch_size=4, epoch_spans=256, epochs=3
)
SETTINGS = TrainSettings(workers=2, cpus_per_worker=1)
DRIVER = """
import json, sys, ray
from pathlib import Path
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
from emoray.config import ExpressivePreset
from emoray.dataset.clusters import EmotionClusters
from emoray.pipeline.run_folder import RunFolder
from emoray.pipeline.train import TrainSettings, train
folder, preset = Path(sys.argv[1]), ExpressivePreset(**json.loads(sys.argv[2]))
clusters = EmotionClusters.load(folder / "emotion.json")
run = RunFolder.at(folder / "killed", {"preset": "expressive"}, clusters, resume=False)
train(folder / "corpus", run, preset, TrainSettings(workers=2, cpus_per_worker=1))
"""


@pytest.fixture(scope="module")
def folder(ray_cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and its clusters."""
    root = tmp_path_factory.mktemp("training")
    corpus_of_tunes(root)
    return root


def trained(folder: Path, name: str, *, resume: bool = False) -> Standing:
    clusters, _ = cluster_corpus(folder / "corpus")
    run = RunFolder.at(folder / name, {"preset": "expressive"}, clusters, resume=resume)
    return train(folder / "corpus", run, PRESET, SETTINGS)


def wait_for_epoch(number: int, metrics: Path, driver: subprocess.Popen[bytes]) -> None:
    """Until so many epochs have been written down."""
    deadline = time.monotonic() + 240
    while not metrics.is_file() or len(metrics.read_text().splitlines()) < number:
        assert driver.poll() is None, "the driver ended before it could be killed"
        assert time.monotonic() < deadline, f"no epoch {number}"
        time.sleep(0.02)


def test_a_worker_that_is_killed_in_an_epoch_and_then_the_driver_with_all_of_its_ray_change_nothing(folder):
    """Lost: nothing. Training goes on without the worker by itself, and without the driver by ``--resume``.

    It ends with the loss and the weights of a run that nobody disturbed.
    """
    out = folder / "killed"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder), json.dumps(asdict(PRESET))],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for_epoch(1, out / "metrics.jsonl", driver)
        time.sleep(0.1)
        random.Random(3).choice(processes_of_these_tests("RayTrainWorker")).kill()
        wait_for_epoch(2, out / "metrics.jsonl", driver)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    assert not (out / "config.json").exists(), "it was killed too late to prove anything"
    ended, undisturbed = trained(folder, "killed", resume=True), trained(folder, "undisturbed")
    assert (ended.epoch, undisturbed.epoch) == (3, 3)
    losses = [end.history[-1]["validation_loss"] for end in (ended, undisturbed)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    ours, theirs = (load_file(folder / run / "weights.safetensors") for run in ("killed", "undisturbed"))
    assert all(torch.equal(ours[part], tensor) for part, tensor in theirs.items())
