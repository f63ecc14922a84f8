"""Workers of Ray Train and replicas of Ray Serve that are killed at their work.

EMORAY_FAULT_ROUNDS=10 asks for as many kills as a long night.

What may be lost: nothing but the epoch or the calls under way, which are done again.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composers import AtOnce
from safetensors.torch import load_file

from emoray.config import ExpressivePreset, Request
from emoray.items import Item
from emoray.notes import Notes, as_notes
from emoray.pipeline import serve as door
from emoray.pipeline.client import answer_all
from emoray.pipeline.cluster import cluster_corpus
from emoray.pipeline.ingest import ingest
from emoray.pipeline.run_folder import RunFolder
from emoray.pipeline.stages import Loaders
from emoray.pipeline.train import TrainSettings, train
from emoray.web.settings import ServeSettings
from emoray.writers.midi import midi_bytes

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

ROUNDS = int(os.environ.get("EMORAY_FAULT_ROUNDS", "2"))
PRESET = ExpressivePreset(  # as in two_nodes.py
    embedding=16, hidden=16, head=16, chunk=8, span=32, lookahead=8, batch_size=4, epoch_spans=256, epochs=3
)


def tune(random_seed: int) -> Notes:
    generator = np.random.default_rng(random_seed)
    pitch = 60 + np.cumsum(generator.integers(-2, 3, 60)) % 24
    return as_notes(np.arange(60) * 0.2, [0.2] * 60, pitch, [80] * 60)


def workers_of_these_tests(name: str) -> list[Any]:
    """Ray's processes of that name below this one."""
    import psutil  # ships inside Ray, which puts it on the path

    family = psutil.Process().children(recursive=True)
    return [process for process in family if name in process.name()]


def kill_in_the_middle(metrics: Path, killed: list[int]) -> None:
    """SIGKILL one training worker a moment after the first epoch has been written down."""
    for _ in range(6000):
        if metrics.is_file():
            break
        time.sleep(0.01)
    time.sleep(0.1)
    worker = random.Random(3).choice(workers_of_these_tests("RayTrainWorker"))
    killed.append(worker.pid)
    worker.kill()


def test_a_training_worker_that_is_killed_in_an_epoch_changes_nothing(tmp_path):
    """Lost: nothing. Training ends by itself, with the loss and the weights of an undisturbed run."""
    (tmp_path / "midi").mkdir()
    lines = ["canonical_composer,canonical_title,split,year,midi_filename"]
    for number in range(12):
        (tmp_path / "midi" / f"{number:02}.mid").write_bytes(midi_bytes(tune(number)))
        lines.append(f"Nobody,Tune,{'train' if number % 6 else 'validation'},2000,{number:02}.mid")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    ingest(tmp_path / "midi", tmp_path / "corpus", metadata=tmp_path / "list.csv")
    clusters, _ = cluster_corpus(tmp_path / "corpus")
    killed: list[int] = []
    ends = []
    for name in ("undisturbed", "disturbed"):
        run = RunFolder.at(tmp_path / name, {"preset": "expressive"}, clusters, resume=False)
        hunter = threading.Thread(target=kill_in_the_middle, args=(run.path / "metrics.jsonl", killed))
        if name == "disturbed":
            hunter.start()
        ends.append(train(tmp_path / "corpus", run, PRESET, TrainSettings(workers=2, cpus_per_worker=1)))
    hunter.join()
    assert killed
    assert [end.epoch for end in ends] == [3, 3]
    losses = [end.history[-1]["validation_loss"] for end in ends]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    ours, theirs = (
        load_file(tmp_path / name / "weights.safetensors") for name in ("disturbed", "undisturbed")
    )
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def compose(book: Path, requests: Sequence[Request]) -> list[Notes]:
    (book / f"{os.getpid()}").touch()
    time.sleep(0.1)
    return [as_notes([1.0], [0.4], [one.random_seed % 128], [80]) for one in requests]


def no_faces(_: ServeSettings) -> object:
    return lambda pictures: []


def read_seed(item: Item) -> Notes:
    return as_notes([0.0], [0.4], [60], [80])


def test_replicas_that_are_killed_under_load_leave_no_row_unanswered(tmp_path):
    """Lost: nothing. Every row has the bytes that it has when nobody is killed."""
    settings = ServeSettings(
        app="killed", max_batch_size=4, composer_replicas=2, face_cpus=0.1, seed_cpus=0.1, composer_cpus=0.1
    )
    loaders = Loaders(
        faces=no_faces,
        seeds=lambda _: read_seed,
        composer=lambda _: (AtOnce(partial(compose, tmp_path)), "none"),
    )
    items = [Item(id=f"row-{i}", seed=b"x", valence=1.0, random_seed=i) for i in range(200)]
    handle = door.deploy(settings, loaders=loaders)
    ask = partial(answer_all, handle, window=16, timeout_s=60.0, attempts=8, jitter=random.Random(0))
    killed: list[int] = []
    over = threading.Event()

    def hunt() -> None:
        chance = random.Random(5)
        while not over.wait(chance.uniform(0.5, 2.0)) and len(killed) < ROUNDS:
            for replica in chance.sample(workers_of_these_tests("ComposerDeployment"), 1):
                killed.append(replica.pid)
                os.kill(replica.pid, signal.SIGKILL)

    try:
        undisturbed = [result for result, _ in ask(items)]
        hunter = threading.Thread(target=hunt)
        hunter.start()
        answers = ask(items)
        over.set()
        hunter.join()
    finally:
        door.delete(settings.app)
    assert killed
    assert [result.status for result, _ in answers] == ["ok"] * len(items)
    assert [result for result, _ in answers] == undisturbed
    assert max(attempts for _, attempts in answers) > 1, "nobody was at work when it was killed"
