from __future__ import annotations

import os
from pathlib import Path

import pytest

from emoray.batch.publish import SCRATCH, publish, scratch_files, sweep
from emoray.errors import BatchError


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_files_appear_whole_and_leave_no_scratch_behind(tmp_path):
    publish({tmp_path / "a" / "x": b"1", tmp_path / "b" / "c" / "y": b"2"})
    publish({tmp_path / "a" / "x": b"3"})
    assert files(tmp_path) == {"a/x": b"3", "b/c/y": b"2"}


def test_bytes_are_on_the_disk_before_their_name_is(tmp_path, monkeypatch):
    order = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: order.append("sync") or sync(file))
    monkeypatch.setattr(Path, "replace", lambda *paths: order.append("rename") or rename(*paths))
    publish({tmp_path / "x": b"1", tmp_path / "y": b"2"})
    assert order == ["sync", "sync", "rename", "rename", "sync", "sync"]  # the last two are folders


def test_a_disk_that_fails_halfway_leaves_the_old_file_and_no_scratch(tmp_path, monkeypatch):
    publish({tmp_path / "x": b"old"})

    def full(_file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BatchError, match=r"No space left on device.*--resume"):
        publish({tmp_path / "x": b"new"})
    assert files(tmp_path) == {"x": b"old"}


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BatchError, match="cannot be written"):
        publish({tmp_path / "file" / "deep" / "x": b"1"})


def test_a_sweep_takes_scratch_files_and_nothing_else(tmp_path):
    (tmp_path / "deep").mkdir()
    ours = tmp_path / "deep" / f".a.mid.0123{SCRATCH}"
    for path in (ours, tmp_path / "deep" / ".hidden.tmp", tmp_path / "a.mid"):
        path.write_bytes(b"")
    assert scratch_files(tmp_path) == [ours]
    sweep(tmp_path)
    assert sorted(files(tmp_path)) == ["a.mid", "deep/.hidden.tmp"]
