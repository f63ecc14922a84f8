"""Training whose worker and whose driver are killed.

What may be lost: nothing but the epoch under way, which is done again.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from batches import processes_of_these_tests
from safetensors.torch import load_file
from tunes import PRESET, TWO_WORKERS, run_of

from emoray.pipeline.training import train

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

DRIVER = """
import sys, ray
from pathlib import Path
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
from emoray.pipeline.training import train
sys.path.insert(0, sys.argv[1])
from tunes import PRESET, TWO_WORKERS, run_of
tunes, out = Path(sys.argv[2]), Path(sys.argv[3])
train(tunes / "corpus", run_of(out, tunes), PRESET, TWO_WORKERS)
"""


def wait_for_epoch(number: int, metrics: Path, driver: subprocess.Popen[bytes]) -> None:
    """Until so many epochs have been written down."""
    deadline = time.monotonic() + 240
    while not metrics.is_file() or len(metrics.read_text().splitlines()) < number:
        assert driver.poll() is None, "the driver ended before it could be killed"
        assert time.monotonic() < deadline, f"no epoch {number}"
        time.sleep(0.02)


def test_a_worker_that_is_killed_in_an_epoch_and_then_the_driver_with_all_of_its_ray_change_nothing(
    tunes, undisturbed, tmp_path
):
    """Lost: nothing. Training goes on without the worker by itself, and without the driver by ``--resume``.

    It ends with the loss and the weights of a run that nobody disturbed.
    """
    out = tmp_path / "killed"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, Path(__file__).parents[1] / "helpers", tunes, out],
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
    run, expected = undisturbed
    ended = train(tunes / "corpus", run_of(out, tunes, resume=True), PRESET, TWO_WORKERS)
    assert (ended.epoch, expected.epoch) == (3, 3)
    losses = [end.history[-1]["validation_loss"] for end in (ended, expected)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    ours, theirs = (load_file(path / "weights.safetensors") for path in (out, run.path))
    assert all(torch.equal(ours[part], tensor) for part, tensor in theirs.items())
