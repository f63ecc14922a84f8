"""Batches on a real Ray, with an engine that needs no model."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batches import (
    SETTINGS,
    composed,
    fake_engine,
    good,
    music,
    plan,
    start_driver,
    told,
    wait_for,
    write_manifest,
)  # fmt: skip

from emoray.batch.audit import results, status, verify
from emoray.batch.folder import BatchSettings
from emoray.errors import BatchError, ClusterError, ManifestError
from emoray.pipeline import batch_driver
from emoray.pipeline.batch_driver import Summary, retry_failed, run_batch
from emoray.readers.midi import read_midi

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty good rows."""
    return write_manifest(tmp_path_factory.mktemp("root"), [good(number) for number in range(40)])


@pytest.fixture(scope="module")
def whole(ray_cluster: None, manifest: Path) -> Path:
    """A batch that ran in one go; copy it before you change it. Beside it is its log."""
    out = manifest.parent / "whole"
    run_batch(manifest, out, SETTINGS, engine=plan(out.with_name("log")))
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    """A copy of the whole batch."""
    return Path(shutil.copytree(whole, tmp_path / "out"))


@pytest.fixture
def run(manifest: Path, tmp_path: Path) -> Callable[..., Summary]:
    """``run_batch`` on the manifest, with what a test wants different."""

    def go(out: Path, *, settings: BatchSettings = SETTINGS, resume: bool = False, **changes: Any) -> Summary:
        engine = plan(tmp_path / "log", **changes)
        return run_batch(manifest, out, settings, resume=resume, engine=engine)

    return go


def test_a_batch_has_one_result_and_one_file_for_each_row(run, whole):
    assert [(row["row"], row["status"]) for row in results(whole)] == [(row, "ok") for row in range(1, 41)]
    assert bytes(read_midi(music(whole)["item-5"])["pitch"]) == b"item-5 1.0 1.0seed 1"
    assert verify(whole).sound
    assert composed(whole.with_name("log")) == Counter(f"item-{number}" for number in range(40))
    with pytest.raises(BatchError, match=r"is complete \(40 rows\)"):
        run(whole)


def test_resuming_a_complete_batch_starts_nothing(run, out, tmp_path):
    summary = run(out, resume=True)
    assert (summary.rows, summary.ok, summary.failed, summary.reasons) == (40, 40, 0, {})
    assert not (tmp_path / "log").exists()


def test_broken_rows_fail_each_with_its_reason_and_no_row_is_lost(tmp_path):
    (tmp_path / "link.mid").symlink_to("/etc/hostname")
    (tmp_path / "noise.mid").write_bytes(b"noise")
    broken: list[tuple[object, str]] = [
        ('{"id": ', "is not a JSON object (Expecting value at column 8)"),
        ({"emotion": "sad"}, "seed: is missing"),
        ({"seed": "0.mid"}, "emotion: is missing"),
        (good(0) | {"emotion": "cross"}, "is not an emotion"),
        ('{"id": "nan", "seed": "0.mid", "emotion": "sad", "strength": NaN}', "strength: must be"),
        (good(1) | {"id": "item-0"}, "id item-0: is given twice, first in row 1"),
        (good(1) | {"id": "up", "seed": "../0.mid"}, "contains '..'"),
        (good(1) | {"id": "root", "seed": "/0.mid"}, "is an absolute path"),
        (good(1) | {"id": "link", "seed": "link.mid"}, "leaves the root"),
        (good(1) | {"id": "gone", "seed": "gone.mid"}, "does not exist"),
        (good(1) | {"id": "noise", "seed": "noise.mid"}, "noise.mid: is not music"),
    ]
    rows: list[object] = []
    for number in range(22):  # every second row is broken, each way twice
        rows += [good(number), broken[number % 11][0]]
    out = tmp_path / "out"
    summary = run_batch(write_manifest(tmp_path, rows), out, SETTINGS, engine=plan(tmp_path / "log"))
    ledger = list(results(out))
    assert [row["row"] for row in ledger] == list(range(1, 45))
    assert (summary.rows, summary.ok, summary.failed) == (44, 22, 22)
    assert all(row["status"] == "ok" and row["error"] is None for row in ledger[::2])
    for number, row in enumerate(ledger[1::2]):
        reason = broken[number % 11][1]
        assert row["status"] == "failed"
        assert reason in row["error"] or "is given twice" in row["error"], (reason, row)
    assert sum(summary.reasons.values()) == 22
    assert len(music(out)) == 22
    assert verify(out).sound


def test_what_a_worker_that_died_had_not_renamed_yet_is_gone_in_the_end(run, tmp_path):
    """It may be one of an earlier drive, which ended after this one had swept the folder."""
    out, log = tmp_path / "out", tmp_path / "log"

    def littering() -> Any:
        for name in ("results/.part-000000.parquet.1", "midi/0a/.item.mid.0123"):
            (out / f"{name}.emoray-tmp").parent.mkdir(parents=True, exist_ok=True)
            (out / f"{name}.emoray-tmp").write_bytes(b"half of it")
        return fake_engine(log, 0.0)

    assert run(out, start=lambda _: contextlib.nullcontext(littering)).ok == 40
    assert verify(out).sound


def test_a_failed_row_is_named_in_the_log_of_its_worker(tmp_path, worker_log):
    rows = [good(0), good(1) | {"id": "a-failing-row", "seed": "gone.mid"}]
    run_batch(write_manifest(tmp_path, rows), tmp_path / "out", SETTINGS, engine=plan(tmp_path / "log"))
    [line] = worker_log("a-failing-row")
    assert (line["level"], line["logger"], line["row"]) == ("WARNING", "emoray.batch.shard", 2)
    assert line["message"].startswith("failed: seed gone.mid: does not exist")


def test_a_killed_driver_loses_at_most_the_grains_under_way(run, manifest, whole, tmp_path):
    """SIGKILL in the middle, then --resume: the same files as in one go, nothing committed done twice."""
    import psutil  # ships inside Ray, which puts it on the path

    out, log = tmp_path / "out", tmp_path / "first"
    driver = start_driver(manifest, out, log, 0.6)
    family: list[psutil.Process] = []
    try:
        wait_for(lambda: len(list((out / "results").glob("part-*"))) >= 3, driver)
        with pytest.raises(BatchError, match=f"is in use by process {driver.pid}"):
            run(out, resume=True)
        assert status(out).running
        family = psutil.Process(driver.pid).children(recursive=True)
        named = ("ray::MapBatches", "ray::IDLE")
        workers = [process for process in family if process.name().startswith(named)]
        assert workers
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        assert not psutil.wait_procs(workers, timeout=60)[1], "Ray's workers go with their driver"
    finally:  # its agents take minutes to notice
        for process in [driver, *family]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    kept = {path: path.read_bytes() for path in (out / "results").iterdir() if path.suffix == ".parquet"}
    done = {row["id"] for row in results(out)}
    assert 12 <= len(done) < 40
    assert not status(out).running
    with pytest.raises(BatchError, match=r"is unfinished \(\d+ of 40 rows\); use --resume"):
        run(out)

    assert run(out, resume=True).ok == 40
    assert composed(tmp_path / "log") == Counter({f"item-{n}" for n in range(40)} - done)
    assert all(path.read_bytes() == data for path, data in kept.items())
    assert (music(out), told(out)) == (music(whole), told(whole))
    assert verify(out).sound


def test_a_worker_that_dies_costs_time_and_nothing_else(run, whole, tmp_path):
    (tmp_path / "poison").touch()
    out = tmp_path / "out"
    assert run(out).ok == 40
    assert not (tmp_path / "poison").exists()
    assert composed(tmp_path / "log").total() == 44  # the shard that it had in hand was done twice
    assert (music(out), told(out)) == (music(whole), told(whole))
    assert verify(out).sound


def test_an_interrupted_batch_says_how_far_it_is_and_goes_on(run, tmp_path, monkeypatch):
    out, advance = tmp_path / "out", batch_driver.Meter.advance

    def interrupted(meter, count):
        advance(meter, count)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(batch_driver.Meter, "advance", interrupted)
        with pytest.raises(
            KeyboardInterrupt, match=r"interrupted: \d+ of 40 rows done; run again with --resume"
        ):
            run(out, seconds=0.2)
    done = status(out).done
    assert 4 <= done < 40
    time.sleep(1)
    assert status(out).done <= done + 8  # two workers may have finished what they were at, no more
    assert run(out, resume=True).ok == 40
    assert verify(out).sound


def test_a_truncated_part_and_lost_music_are_found_and_made_again(run, out, whole, tmp_path):
    """Also with other settings where those change nothing in the music."""
    lost = next(results(out))["midi"]
    part = out / "results" / "part-000003.parquet"
    part.write_bytes(part.read_bytes()[:100])
    (out / lost).unlink()
    found = verify(out)
    assert (found.damaged, found.missing, found.pending) == ([part.name], [lost], 4)
    assert run(out, settings=BatchSettings(shard_rows=7), resume=True, workers=1).ok == 40
    assert composed(tmp_path / "log") == Counter(f"item-{number}" for number in [*range(4), *range(12, 16)])
    assert (told(out), music(out)) == (told(whole), music(whole))


def test_a_folder_that_cannot_be_written_stops_the_batch_and_resume_goes_on(run, out, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BatchError, match="cannot be written"):
        run(tmp_path / "file" / "out")
    shutil.rmtree(out / "results")
    (out / "results").write_bytes(b"in the way")
    with pytest.raises(BatchError, match=r"cannot be written .*--resume"):
        run(out, resume=True)
    (out / "results").unlink()
    assert run(out, resume=True).ok == 40


def test_another_batch_is_refused_by_what_differs(run, out, manifest):
    with pytest.raises(BatchError, match=r"another strength \(1\.0, now 2\.0\); choose another folder"):
        run(out, settings=BatchSettings(shard_rows=4, strength=2.0), resume=True)
    with pytest.raises(BatchError, match="another checkpoint; choose"):
        run(out, checkpoint="d" * 64, resume=True)
    other = manifest.with_name("other.jsonl")
    other.write_text(json.dumps(good(1)))
    with pytest.raises(BatchError, match=r"another manifest \(row 1: id 'item-0', now 'item-1'; .*40 rows"):
        run_batch(other, out, SETTINGS, resume=True, engine=plan(manifest.with_name("log")))


def test_retry_answers_failed_rows_again_and_only_those(tmp_path):
    rows = [good(number) for number in range(8)] + [good(8) | {"seed": "gone.mid"}, good(9) | {"notes": 0}]
    out, log, manifest = tmp_path / "out", tmp_path / "log", write_manifest(tmp_path, rows)
    (tmp_path / "3.mid").write_bytes(b"noise")
    summary = run_batch(manifest, out, SETTINGS, engine=plan(log))
    assert summary.failed == 4
    before = told(out)
    (tmp_path / "3.mid").write_bytes(b"mended")
    (tmp_path / "gone.mid").write_bytes(b"found")
    summary = retry_failed(out, engine=plan(log))
    assert (summary.ok, summary.failed, list(summary.reasons)) == (
        9,
        1,
        [before[9]["error"].split(": ", 1)[1]],
    )
    after = told(out)
    assert [row["attempts"] for row in after] == [1, 1, 1, 2, 1, 1, 1, 2, 2, 0]
    assert [row for row in after if row["attempts"] == 1] == [row for row in before if row["status"] == "ok"]
    assert composed(log) == Counter(f"item-{n}" for n in [*range(8), 3, 7, 8])
    assert verify(out).sound


def test_retry_wants_a_complete_batch_of_the_same_checkpoint(out, tmp_path):
    with pytest.raises(BatchError, match="another checkpoint"):
        retry_failed(out, engine=plan(tmp_path / "log", checkpoint="d" * 64))
    (out / "results" / "part-000000.parquet").unlink()
    with pytest.raises(BatchError, match="is not complete; finish it with --resume first"):
        retry_failed(out, engine=plan(tmp_path / "log"))


def test_nothing_starts_that_cannot_end(run, tmp_path):
    out, engine = tmp_path / "out", plan(tmp_path / "log")
    with pytest.raises(
        ClusterError, match=r"cluster: has 4 CPUs, this batch wants 50; lower --workers \(now 100\)"
    ):
        run(out, workers=100)
    with pytest.raises(ClusterError, match="start Ray with more or join a larger one"):
        run(out, service_cpus=4.0)
    with pytest.raises(ManifestError, match="holds no rows"):
        run_batch(write_manifest(tmp_path, []), out, engine=engine)
    with pytest.raises(ManifestError, match="cannot be read"):
        run_batch(tmp_path / "gone.jsonl", out, engine=engine)
    assert not out.exists()


def test_a_folder_with_other_files_is_left_alone(run, tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(BatchError, match=r"holds 'holiday\.jpg'"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]
