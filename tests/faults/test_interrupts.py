"""Ctrl-C at random moments of the commands that learn; a batch is in test_drivers.py.

What may be lost: nothing but the epoch under way. Nothing half written bears a final name.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from length import kills
from safetensors.torch import load_file

from emoray.config import BaselinePreset
from emoray.dataset import corpus
from emoray.dataset.clusters import EmotionClusters
from emoray.notes import as_notes
from emoray.pipeline.run_folder import RunFolder
from emoray.pipeline.training import TrainSettings, train
from emoray.writers.midi import midi_bytes

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

EPOCHS = 3
Emoray = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def emoray() -> Iterator[Emoray]:
    """Starts the command on the Ray of these tests; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from emoray.cli import main; main()", *map(str, options)]
        address = ray.get_runtime_context().gcs_address
        started.append(
            subprocess.Popen(
                command,
                env=os.environ | {"RAY_ADDRESS": address},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def connecting(process: subprocess.Popen[str]) -> None:
    """Wait until it has loaded Ray: before, it has done nothing."""
    maps = Path(f"/proc/{process.pid}/maps")
    while process.poll() is None and "_raylet" not in maps.read_text():
        time.sleep(0.02)


def finished(process: subprocess.Popen[str]) -> float:
    """Seconds that it took from when it had loaded Ray."""
    connecting(process)
    started = time.monotonic()
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return time.monotonic() - started


def interrupted(process: subprocess.Popen[str], within: float, chance: random.Random) -> bool:
    """Send SIGINT at some moment; whether it was in time. It is one line and code 130, or it was too late."""
    connecting(process)
    time.sleep(chance.uniform(0.0, within))
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert "Traceback" not in said, said
    assert process.returncode in (0, 130), said
    if process.returncode == 130:
        assert said.strip().splitlines()[-1].startswith("emoray: interrupted"), said
    return process.returncode == 130


def write_tunes(folder: Path) -> None:
    folder.mkdir()
    lines = ["canonical_composer,canonical_title,split,year,midi_filename"]
    for number in range(24):
        generator = np.random.default_rng(number)
        pitch = 60 + np.cumsum(generator.integers(-2, 3, 100)) % 24
        notes = as_notes(np.arange(100) * 0.2, [0.2] * 100, pitch, [80] * 100)
        (folder / f"{number:02}.mid").write_bytes(midi_bytes(notes))
        lines.append(f"Nobody,Tune,{'train' if number % 6 else 'validation'},2000,{number:02}.mid")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")


@kills(1)
def test_ingest_that_is_interrupted_goes_on_as_if_it_had_not_been(rounds, emoray, tmp_path):
    """Lost: nothing. The corpus is there as a whole or not at all."""
    midi, chance = tmp_path / "midi", random.Random(13)
    write_tunes(midi)
    ingest = ["ingest", midi, "--metadata", midi / "list.csv", "--out"]
    takes = finished(emoray(*ingest, tmp_path / "corpus"))
    for _ in range(rounds):
        if interrupted(emoray(*ingest, tmp_path / "again", "--overwrite"), takes, chance):
            assert not [path for path in tmp_path.glob("again*") if path.name != "again"], "a staging folder"
        if (tmp_path / "again").exists():
            corpus.open_corpus(tmp_path / "again")
    finished(emoray(*ingest, tmp_path / "again", "--overwrite"))
    for part in corpus.parts(tmp_path / "corpus"):
        assert part.read_bytes() == (tmp_path / "again" / part.name).read_bytes()


def training(tunes: Path, out: Path) -> list[object]:
    """The options of a short training of the baseline preset that goes on with what is there."""
    options = ["--emotion", tunes / "baseline.json", "--preset", "baseline", "--epochs", EPOCHS]
    return ["train", tunes / "corpus", *options, "--epoch-windows", 2_000, "--resume", "--out", out]


def test_training_that_is_interrupted_ends_with_one_line(emoray, tunes, tmp_path):
    """Lost: nothing but the epoch under way; that it goes on from there is in test_training.py, and below."""
    assert interrupted(emoray(*training(tunes, tmp_path / "run")), 12.0, random.Random(17))


@pytest.mark.full
@pytest.mark.parametrize("rounds", [10])
def test_training_that_is_interrupted_goes_on_as_if_it_had_not_been(rounds, emoray, tunes, tmp_path):
    """Lost: nothing. The weights are the same in the end."""
    clusters = EmotionClusters.load(tunes / "baseline.json")
    whole = RunFolder.at(tmp_path / "whole", {"preset": "baseline"}, clusters, resume=False)
    started = time.monotonic()
    train(tunes / "corpus", whole, BaselinePreset(epochs=EPOCHS, epoch_windows=2_000), TrainSettings())
    takes, chance = time.monotonic() - started, random.Random(13)
    command = training(tunes, tmp_path / "run")
    for _ in range(rounds):
        interrupted(emoray(*command), takes, chance)
    finished(emoray(*command))
    ours, theirs = (load_file(tmp_path / name / "weights.safetensors") for name in ("run", "whole"))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
