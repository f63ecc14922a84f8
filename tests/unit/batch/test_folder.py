from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from emoray.batch.folder import MOST_ROWS, BatchSettings, Run, even_shard_rows, refuse_foreign
from emoray.batch.publish import publish
from emoray.errors import BatchError, EmorayError

IDENTITY = {"manifest": "a" * 64, "checkpoint": "b" * 64, "root": "/music", "strength": 1.0}


def run(**changes: object) -> Run:
    settings = {"checkpoint": "runs/x", "engine": "data"}
    fields = {
        "identity": IDENTITY,
        "settings": settings,
        "manifest": "m.jsonl",
        "root": ".",
        "rows": 5,
        "shard_rows": 2,
    }
    return Run(**(fields | {"versions": {}} | changes))


def test_a_run_comes_back_as_it_was_saved(folder):
    run().save(folder)
    assert Run.load(folder) == run()
    assert run().stored_settings() == BatchSettings(checkpoint=Path("runs/x"), engine="data")


def test_a_folder_without_run_json_is_no_batch_folder(folder):
    with pytest.raises(BatchError, match="is not a batch folder"):
        Run.load(folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "cannot be used"), ("[]", "cannot be used"), ('{"surprise": 1}', "unknown setting surprise")],
)
def test_a_broken_run_json_is_refused(folder, text, reason):
    publish({folder / "run.json": text.encode()})
    with pytest.raises(BatchError, match=reason):
        Run.load(folder)


def test_a_run_of_another_version_is_refused(folder):
    run(version=99).save(folder)
    with pytest.raises(BatchError, match="has version 99, this emoray reads 3"):
        Run.load(folder)


def test_a_refusal_names_all_that_differs(folder):
    run().refuse_other(IDENTITY, folder)
    with pytest.raises(BatchError, match=r"another manifest and another strength \(1\.0, now 0\.5\); choose"):
        run().refuse_other(IDENTITY | {"manifest": "c" * 64, "strength": 0.5}, folder)


def test_a_folder_with_other_files_is_not_taken(folder):
    for name in ("run.lock", "fences/1", "manifest/x", ".run.json.0.emoray-tmp"):  # a drive that ended early
        publish({folder / name: b""})
    refuse_foreign(folder)
    publish({folder / "holiday.jpg": b""})
    with pytest.raises(BatchError, match=r"holds 'holiday\.jpg' and is not a batch folder"):
        refuse_foreign(folder)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"guidance": "louder"}, "guidance: louder is unknown"),
        ({"engine": "spark"}, "engine: 'spark' is unknown; choose serve, data"),
        ({"strength": float("nan")}, "strength: must be a number from 0 to 10"),
        ({"shard_rows": 0}, "shard rows: must be a positive number"),
        ({"workers": -1}, "workers: must be a positive number"),
    ],
)
def test_a_bad_setting_is_refused_by_name(settings, reason):
    with pytest.raises(EmorayError, match=reason):
        BatchSettings(**settings)


def test_what_is_stored_can_be_read_by_a_person(folder):
    run().save(folder)
    assert json.loads((folder / "run.json").read_bytes())["identity"] == IDENTITY


@pytest.mark.parametrize("rows", [1, 9, 64, 65, 129, 200, 2000, 100_001])
@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_grains_are_small_and_leave_no_worker_waiting_for_a_large_one(rows, workers):
    shard = even_shard_rows(rows, workers)
    assert 1 <= shard <= MOST_ROWS
    rounds = math.ceil(math.ceil(rows / shard) / workers)
    assert rounds == math.ceil(rows / (MOST_ROWS * workers)), "no more shards than it takes"
    assert rounds * shard < rows / workers + rounds, "the busiest worker has its share, give or take a row"
