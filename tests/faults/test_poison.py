"""A row that ends the process that answers it, or never ends.

What may be lost: nothing. The row itself fails after bounded tries and says why.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asked import request
from batches import DEADLY, ENDLESS, SETTINGS, composed, good, plan, write_manifest
from composers import AtOnce

from emoray.batch.audit import results, verify
from emoray.batch.folder import BatchSettings
from emoray.errors import BatchError
from emoray.notes import Notes, as_notes
from emoray.pipeline.batch_driver import run_batch
from emoray.pipeline.failures import isolated
from emoray.pipeline.serve_engine import serving
from emoray.pipeline.worker import Loaders
from emoray.request import File, Prompt, Result
from emoray.web.settings import ServeSettings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


POISON = {"item-5": DEADLY, "item-9": ENDLESS}


def write_poisoned(folder: Path, poison: dict[str, bytes] = POISON) -> Path:
    """Twelve rows, some of which are poison."""
    rows = []
    for row in map(good, range(12)):
        if seed := poison.get(row["id"]):
            row["seed"] = f"{row['id']}.mid"
            (folder / row["seed"]).write_bytes(seed)
        rows.append(row)
    return write_manifest(folder, rows)


def reasons(out: Path) -> dict[str, str]:
    """Why the poisoned rows failed; all others are answered."""
    rows = list(results(out))
    assert [row["id"] for row in rows] == [f"item-{number}" for number in range(12)]
    assert verify(out).sound
    failed = {row["id"]: row["error"] for row in rows if row["status"] != "ok"}
    assert failed.keys() == POISON.keys()
    return failed


def test_a_row_that_kills_its_worker_or_never_ends_fails_after_bounded_tries(tmp_path, log):
    """Lost: nothing. Their neighbours are answered, and the shard between them does not notice."""
    run_batch(write_poisoned(tmp_path), tmp_path / "out", SETTINGS, engine=plan(log, limit=2.0))
    failed = reasons(tmp_path / "out")
    assert "item-5: ended its process 2 times, even alone" in failed["item-5"]
    assert "item-9: takes longer than 2 s, even alone" in failed["item-9"]
    times = composed(log)
    assert times.pop("item-5") == 3, "once with its neighbours, twice alone"
    assert all(times[f"item-{number}"] == 1 for number in range(4))


def test_workers_that_die_whatever_they_do_end_the_batch_and_not_each_other_for_ever(tmp_path, log):
    """Lost: nothing. What is not answered is pending, and the folder has no mark of the deaths."""
    settings = BatchSettings(shard_rows=4, attempts=2)
    manifest = write_poisoned(tmp_path, {"item-5": DEADLY})
    with pytest.raises(BatchError, match=r"2 workers died over rows 5 to 8; give workers more memory"):
        run_batch(manifest, tmp_path / "out", settings, engine=plan(log, alone=None))
    (tmp_path / "item-5.mid").write_bytes(b"mended")
    assert run_batch(manifest, tmp_path / "out", settings, resume=True, engine=plan(log)).ok == 12
    assert verify(tmp_path / "out").sound


def test_a_process_for_one_item_that_dies_as_it_starts_is_started_again(tmp_path):
    """Lost: nothing. Its node may have been lost before it was there."""

    def build() -> Any:
        if len(list(tmp_path.iterdir())) < 2:
            (tmp_path / f"{os.getpid()}").touch()
            os._exit(1)
        return lambda items: [(Result(id=item.id), 1) for item in items]

    [(result, attempts)] = isolated(build, attempts=1, seconds=60)([request("a")])
    assert (result.id, attempts) == ("a", 1)


def read_seed(seed: File) -> Notes:
    pitch = {DEADLY: 1, ENDLESS: 2}.get(seed.content, 60)
    return as_notes([0.0], [0.4], [pitch], [80])


def compose(log: Path, requests: Sequence[Prompt]) -> list[Notes]:
    pitches = [int(request.seed["pitch"][0]) for request in requests]
    with log.open("a") as lines:
        lines.write("".join(f"{pitch}\n" for pitch in pitches))
    if 1 in pitches:
        os._exit(1)
    time.sleep(3600 if 2 in pitches else 0.05)
    return [as_notes([1.0], [0.4], [60], [80]) for _ in requests]


def through_serve(log: Path, seconds: float) -> Any:
    """The ``serve`` engine with a composer made here."""
    loaders = Loaders(
        faces=lambda _: lambda pictures: [],
        seeds=lambda _: read_seed,
        composer=lambda _: (AtOnce(partial(compose, log)), "none"),
    )
    settings = BatchSettings(shard_rows=4, window=8, attempts=2, timeout=seconds)
    stages = ServeSettings(
        face_cpus=0.1, seed_cpus=0.1, composer_cpus=0.1, max_batch_size=8, stage_timeout=seconds
    )
    return plan(log, start=partial(serving, settings, stages, loaders), alone=None, worker_cpus=0.1)


def test_a_row_that_kills_its_replica_or_is_stuck_in_it_fails_and_harms_nobody_who_shares_it(tmp_path, log):
    """Lost: nothing but time. All twelve may be in the replica when it dies, and ten are answered.

    A replica that is stuck would answer nobody any more, and is replaced.
    """
    run_batch(write_poisoned(tmp_path), tmp_path / "out", SETTINGS, engine=through_serve(log, 4.0))
    failed = reasons(tmp_path / "out")
    assert "item-5: ended its process 2 times, even alone" in failed["item-5"]
    assert "item-9: takes longer than 4 s, even alone" in failed["item-9"]
    assert composed(log)["1"] <= 2 + 2, "twice in Serve, twice alone"
