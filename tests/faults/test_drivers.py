"""Drivers of a batch that are killed, interrupted, overtaken or find their disk full.

The drivers join the Ray of these tests, so that Ray outlives them, and their workers may for a moment.
What may be lost: nothing. Each test ends with every row answered once and the bytes of an undisturbed run.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from batches import SETTINGS, good, music, plan, start_driver, told, wait_for, write_manifest
from length import kills

from emoray.batch.audit import results, status, verify
from emoray.batch.publish import LOCK, latest_token
from emoray.errors import BatchError
from emoray.pipeline.batch_driver import Summary, run_batch
from emoray.storage import storage_path

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

ROWS = 40


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_manifest(tmp_path_factory.mktemp("root"), [good(number) for number in range(ROWS)])


@pytest.fixture(scope="module")
def whole(ray_cluster: None, manifest: Path) -> Path:
    """A batch that nothing disturbed; copy it before you change it."""
    out = manifest.parent / "whole"
    run_batch(manifest, out, SETTINGS, engine=plan(out.with_name("log")))
    return out


@pytest.fixture
def drive(manifest: Path, tmp_path: Path) -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts a driver that takes about four seconds for the batch; none outlives the test."""
    drivers = []

    def start(out: Path) -> subprocess.Popen[str]:
        address = ray.get_runtime_context().gcs_address
        drivers.append(start_driver(manifest, out, tmp_path / "log", 0.8, RAY_ADDRESS=address))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.kill()
        driver.wait()


def finish(manifest: Path, out: Path) -> Summary:
    return run_batch(manifest, out, SETTINGS, resume=True, engine=plan(out.parent / "log"))


def expect_the_same(out: Path, whole: Path) -> None:
    assert [row["row"] for row in results(out)] == list(range(1, ROWS + 1))
    assert (music(out), told(out)) == (music(whole), told(whole))
    assert verify(out).sound, "that is: no stray, temporary, damaged or doubled file either"


@kills(2)
def test_a_driver_that_is_killed_again_and_again_loses_nothing(rounds, drive, manifest, whole, tmp_path):
    """Lost: nothing. SIGKILL at random moments, with --resume each time, then a drive that is let be."""
    chance, out = random.Random(7), tmp_path / "out"
    for _ in range(rounds):
        driver, before = drive(out), latest_token(storage_path(out))
        wait_for(lambda before=before: latest_token(storage_path(out)) > before, driver)
        time.sleep(chance.uniform(0.0, 4.0))
        driver.kill()
        driver.communicate()
        assert not status(out).running if (out / "run.json").exists() else True
    finish(manifest, out)
    expect_the_same(out, whole)


@kills(2)
def test_ctrl_c_is_one_line_and_code_130_whenever_it_comes(rounds, drive, manifest, whole, tmp_path):
    """Lost: nothing. A driver that had ended before it was interrupted may also have ended well."""
    chance, out = random.Random(11), tmp_path / "out"
    for _ in range(rounds):
        driver, before = drive(out), latest_token(storage_path(out))
        wait_for(lambda before=before: latest_token(storage_path(out)) > before, driver)
        time.sleep(chance.uniform(0.0, 4.0))
        driver.send_signal(signal.SIGINT)
        said, _ = driver.communicate(timeout=60)
        assert driver.returncode in (0, 130), said
        if driver.returncode == 130:
            assert said.strip().splitlines()[-1].startswith("emoray: interrupted"), said
        assert "Traceback" not in said
    finish(manifest, out)
    expect_the_same(out, whole)


def test_a_second_driver_is_refused_and_one_that_was_overtaken_commits_nothing_more(
    drive, manifest, whole, tmp_path
):
    """Lost: nothing. Its lock was lost (a network disk, say) and somebody else drives the folder."""
    out = tmp_path / "out"
    driver = drive(out)
    wait_for(lambda: list((out / "results").glob("part-*")), driver)
    with pytest.raises(BatchError, match=f"is in use by process {driver.pid}"):
        finish(manifest, out)
    later = f"{latest_token(storage_path(out)) + 1} process 1 on elsewhere".ljust(200) + "\n"
    descriptor = os.open(out / LOCK, os.O_WRONLY)
    os.pwrite(descriptor, later.encode(), 0)
    os.close(descriptor)
    time.sleep(0.1)  # who had looked at the fence just before has committed
    done = status(out).done
    said, _ = driver.communicate(timeout=60)
    assert driver.returncode == 2, said
    assert "has been taken over by another run; leave it to that one" in said
    assert status(out).done == done < ROWS
    finish(manifest, out)
    expect_the_same(out, whole)


@pytest.mark.parametrize("left", ["nothing", "a beginning", "garbage"])
def test_a_part_that_a_crash_left_broken_is_named_and_mended(manifest, whole, tmp_path, left):
    """Lost: nothing. Power failed, and the disk did not keep what it had promised."""
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    parts = [out / "results" / f"part-00000{number}.parquet" for number in (0, 4)]
    for part in parts:
        data = part.read_bytes()
        part.write_bytes({"nothing": b"", "a beginning": data[: len(data) // 2], "garbage": data[::-1]}[left])
    found = verify(out)
    assert (found.damaged, found.pending, found.sound) == ([part.name for part in parts], 8, False)
    assert (found.missing, found.corrupt, found.stray) == ([], [], [])
    finish(manifest, out)
    expect_the_same(out, whole)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or _mount("-t", "tmpfs", "-o", "size=80k", "tmpfs", folder):
        pytest.skip("mounting a small disk is not permitted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def _mount(*options: object) -> int:
    return subprocess.run(["mount", *map(str, options)], capture_output=True).returncode


def test_a_full_disk_ends_the_batch_with_its_reason_and_resume_goes_on(disk, manifest, whole):
    """Lost: nothing. What was committed before the disk was full is kept."""
    out = disk / "out"
    with pytest.raises(BatchError, match=r"cannot be written \(No space left on device\); .*--resume"):
        finish(manifest, out)
    done = status(out).done
    assert done < ROWS
    with pytest.raises(BatchError, match="No space left on device"):
        finish(manifest, out)
    assert status(out).done >= done
    assert _mount("-o", "remount,size=8m", disk) == 0
    finish(manifest, out)
    expect_the_same(out, whole)


def test_a_disk_that_becomes_read_only_ends_the_batch_and_resume_goes_on(disk, drive, manifest, whole):
    """Lost: nothing. Root ignores the modes of a folder, so it is the mount that forbids to write."""
    out = disk / "out"
    assert _mount("-o", "remount,size=8m", disk) == 0
    driver = drive(out)
    wait_for(lambda: list((out / "results").glob("part-*")), driver)
    results = out / "results"
    assert _mount("--bind", results, results) == 0  # the driver holds its lock open beside it
    try:
        while _mount("-o", "remount,bind,ro", results):  # as long as a part is open for writing
            time.sleep(0.01)
        said, _ = driver.communicate(timeout=60)
    finally:
        subprocess.run(["umount", results], check=True)
    assert driver.returncode == 2, said
    assert re.search(
        r"cannot be (written|deleted) \(Read-only file system\); mend that and run again with --resume", said
    )
    assert 0 < status(out).done < ROWS
    finish(manifest, out)
    expect_the_same(out, whole)
