from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from emoray.batch.folder import (
    MOST_ROWS,
    BatchSettings,
    Run,
    driving,
    even_grain,
    fence_of,
    is_driven,
    refuse_foreign,
)
from emoray.errors import BatchError, ConfigError

IDENTITY = {"manifest": "a" * 64, "checkpoint": "b" * 64, "root": "/music", "strength": 1.0}


def run(**changes: object) -> Run:
    settings = {"checkpoint": "runs/x", "engine": "data"}
    fields = {"identity": IDENTITY, "settings": settings, "manifest": "m.jsonl", "rows": 5, "grain": 2}
    return Run(**(fields | {"versions": {}} | changes))


def test_a_run_comes_back_as_it_was_saved(tmp_path):
    run().save(tmp_path)
    assert Run.load(tmp_path) == run()
    assert run().stored_settings() == BatchSettings(checkpoint=Path("runs/x"), engine="data")


def test_a_folder_without_run_json_is_no_batch_folder(tmp_path):
    with pytest.raises(BatchError, match="is not a batch folder"):
        Run.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "cannot be used"), ("[]", "cannot be used"), ('{"surprise": 1}', "unknown setting surprise")],
)
def test_a_broken_run_json_is_refused(tmp_path, text, reason):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BatchError, match=reason):
        Run.load(tmp_path)


def test_a_run_of_another_version_is_refused(tmp_path):
    run(version=99).save(tmp_path)
    with pytest.raises(BatchError, match="has version 99, this emoray reads 1"):
        Run.load(tmp_path)


def test_a_refusal_names_all_that_differs(tmp_path):
    run().refuse_other(IDENTITY, tmp_path)
    with pytest.raises(BatchError, match=r"another manifest and another strength \(1\.0, now 0\.5\); choose"):
        run().refuse_other(IDENTITY | {"manifest": "c" * 64, "strength": 0.5}, tmp_path)


def test_only_one_driver_at_a_time_and_each_has_a_higher_fence(tmp_path):
    out = tmp_path / "new" / "out"
    assert not is_driven(out)
    with driving(out) as first:
        assert is_driven(out)
        assert fence_of(out) == first
        with (
            pytest.raises(BatchError, match=r"is in use by process \d+ on .*; wait for it to end"),
            driving(out),
        ):
            pass
    assert not is_driven(out)
    with driving(out) as second:
        assert second > first


def test_a_driver_that_is_gone_holds_no_lock(tmp_path):
    (tmp_path / "run.lock").write_text("7 process 1 on nowhere\n")
    with driving(tmp_path) as fence:
        assert fence == 8


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BatchError, match="cannot be written"), driving(tmp_path / "file" / "out"):
        pass


def test_a_folder_with_other_files_is_not_taken(tmp_path):
    for name in ("run.lock", "manifest.parquet", ".run.json.0.emoray-tmp"):  # a drive that ended early
        (tmp_path / name).write_bytes(b"")
    refuse_foreign(tmp_path)
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(BatchError, match=r"holds 'holiday\.jpg' and is not a batch folder"):
        refuse_foreign(tmp_path)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"guidance": "louder"}, "guidance: 'louder' is unknown"),
        ({"engine": "spark"}, "engine: 'spark' is unknown; choose serve, data"),
        ({"strength": float("nan")}, "strength: must lie in 0..10"),
        ({"grain": 0}, "grain: must be a positive number"),
        ({"workers": -1}, "workers: must be a positive number"),
    ],
)
def test_a_bad_setting_is_refused_by_name(settings, reason):
    with pytest.raises(ConfigError, match=reason):
        BatchSettings(**settings)


def test_what_is_stored_can_be_read_by_a_person(tmp_path):
    run().save(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["identity"] == IDENTITY


@pytest.mark.parametrize("rows", [1, 9, 64, 65, 129, 200, 2000, 100_001])
@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_grains_are_small_and_leave_no_worker_waiting_for_a_large_one(rows, workers):
    grain = even_grain(rows, workers)
    assert 1 <= grain <= MOST_ROWS
    rounds = math.ceil(math.ceil(rows / grain) / workers)
    assert rounds == math.ceil(rows / (MOST_ROWS * workers)), "no more grains than it takes"
    assert rounds * grain < rows / workers + rounds, "the busiest worker has its share, give or take a row"
