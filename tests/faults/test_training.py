"""Training whose driver or worker is killed.

What may be lost: nothing but the epoch under way, which is done again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
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


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> Standing:
    """How training ends when nobody is killed."""
    return trained(folder, "undisturbed")


def assert_as_undisturbed(folder: Path, name: str, standing: Standing, undisturbed: Standing) -> None:
    assert (standing.epoch, undisturbed.epoch) == (3, 3)
    losses = [end.history[-1]["validation_loss"] for end in (standing, undisturbed)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    ours, theirs = (load_file(folder / run / "weights.safetensors") for run in (name, "undisturbed"))
    assert all(torch.equal(ours[part], tensor) for part, tensor in theirs.items())


def kill_in_the_middle(metrics: Path, killed: list[int]) -> None:
    """SIGKILL one training worker a moment after the first epoch has been written down."""
    for _ in range(24_000):
        if metrics.is_file():
            break
        time.sleep(0.01)
    time.sleep(0.1)
    worker = random.Random(3).choice(processes_of_these_tests("RayTrainWorker"))
    killed.append(worker.pid)
    worker.kill()


def test_a_training_worker_that_is_killed_in_an_epoch_changes_nothing(folder, undisturbed):
    """Lost: nothing. Training ends by itself, with the loss and the weights of an undisturbed run."""
    killed: list[int] = []
    metrics = folder / "disturbed" / "metrics.jsonl"
    hunter = threading.Thread(target=kill_in_the_middle, args=(metrics, killed))
    hunter.start()
    standing = trained(folder, "disturbed")
    hunter.join()
    assert killed
    assert_as_undisturbed(folder, "disturbed", standing, undisturbed)


def test_a_driver_that_is_killed_with_all_of_its_ray_resumes_and_ends_alike(folder, undisturbed):
    """Lost: nothing. SIGKILL as soon as an epoch has been written down, then ``--resume``."""
    out = folder / "killed"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder), json.dumps(asdict(PRESET))],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 240
        while not (out / "metrics.jsonl").is_file():
            assert driver.poll() is None, "the driver ended before it could be killed"
            assert time.monotonic() < deadline, "no first epoch"
            time.sleep(0.02)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    assert not (out / "config.json").exists(), "it was killed too late to prove anything"
    assert_as_undisturbed(folder, "killed", trained(folder, "killed", resume=True), undisturbed)
