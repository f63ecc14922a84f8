"""Replicas of Ray Serve that are killed at their work.

What may be lost: nothing but the calls under way, which are made again.
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

import pytest
from asked import request
from batches import processes_of_these_tests
from composers import AtOnce
from length import kills

from emoray.generation import write
from emoray.notes import Notes, as_notes
from emoray.pipeline import serve_deployment as door
from emoray.pipeline.serve_engine import answer_all
from emoray.pipeline.worker import Loaders
from emoray.request import File, Prompt
from emoray.web.settings import ServeSettings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def compose(book: Path, requests: Sequence[Prompt]) -> list[Notes]:
    (book / f"{os.getpid()}").touch()
    time.sleep(0.1)
    return [as_notes([1.0], [0.4], [one.random_seed % 128], [80]) for one in requests]


def no_faces(_: ServeSettings) -> object:
    return lambda pictures: []


def read_seed(seed: File) -> Notes:
    return as_notes([0.0], [0.4], [60], [80])


def at_work(book: Path) -> list[int]:
    """Composers that have begun a batch within the time that it takes."""
    replicas = [process.pid for process in processes_of_these_tests(":composer")]
    begun = {pid: (book / f"{pid}").stat().st_mtime for pid in replicas if (book / f"{pid}").exists()}
    return [pid for pid, when in begun.items() if time.time() - when < 0.08]


@kills(2)
def test_replicas_that_are_killed_under_load_leave_no_row_unanswered(rounds, tmp_path):
    """Lost: nothing. Every row has the bytes that it has when nobody is killed."""
    settings = ServeSettings(
        app="killed", max_batch_size=4, composer_replicas=2, face_cpus=0.1, seed_cpus=0.1, composer_cpus=0.1
    )
    loaders = Loaders(
        faces=no_faces,
        seeds=lambda _: read_seed,
        composer=lambda _: (AtOnce(partial(compose, tmp_path)), "none"),
    )
    items = [request(f"row-{i}", random_seed=i) for i in range(200)]
    handle = door.deploy(settings, loaders=loaders)
    ask = partial(answer_all, handle, window=16, timeout_s=60.0, attempts=8, jitter=random.Random(0))
    killed: list[int] = []
    over = threading.Event()

    def hunt() -> None:
        chance, pause = random.Random(5), 0.0
        while not over.wait(pause) and len(killed) < rounds:
            pause = 0.02
            for pid in at_work(tmp_path)[:1]:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)
                pause = chance.uniform(0.5, 2.0)

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
    assert [write(result) for result, _ in answers] == [write(result) for result in undisturbed]
    assert max(attempts for _, attempts in answers) > 1, "nobody was at work when it was killed"
