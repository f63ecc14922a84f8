from __future__ import annotations

import os
from pathlib import Path

import pytest

from emoray.batch.publish import SCRATCH, publish, scratch_files, sweep
from emoray.errors import BatchError
from emoray.storage import StoragePath


def files(folder: StoragePath) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in folder.files()}


def test_files_appear_whole_and_leave_no_scratch_behind(folder):
    publish({folder / "a" / "x": b"1", folder / "b" / "c" / "y": b"2"})
    publish({folder / "a" / "x": b"3"})
    assert files(folder) == {"a/x": b"3", "b/c/y": b"2"}


def test_bytes_are_on_the_disk_before_their_name_is(disk, monkeypatch):
    order = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: order.append("sync") or sync(file))
    monkeypatch.setattr(Path, "replace", lambda *paths: order.append("rename") or rename(*paths))
    publish({disk / "x": b"1", disk / "y": b"2"})
    assert order == ["sync", "sync", "rename", "rename", "sync", "sync"]  # the last two are folders


def test_a_disk_that_fails_halfway_leaves_the_old_file_and_no_scratch(disk, monkeypatch):
    publish({disk / "x": b"old"})

    def full(_file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BatchError, match=r"No space left on device.*--resume"):
        publish({disk / "x": b"new"})
    assert files(disk) == {"x": b"old"}


def test_a_folder_below_a_file_cannot_be_written(folder):
    publish({folder / "file": b""})
    with pytest.raises(BatchError, match=r"cannot be written .*--resume"):
        publish({folder / "file" / "deep" / "x": b"1"})


def test_a_sweep_takes_scratch_files_and_nothing_else(disk):
    for name in (f"deep/.a.mid.0123{SCRATCH}", "deep/.hidden.tmp", "a.mid"):
        publish({disk / name: b""})
    assert scratch_files(disk) == [f"deep/.a.mid.0123{SCRATCH}"]
    sweep(disk)
    assert sorted(files(disk)) == ["a.mid", "deep/.hidden.tmp"]
