from __future__ import annotations

import pytest
from pyarrow.fs import _MockFileSystem

from emoray.batch import publish as publishing
from emoray.batch.publish import hold_folder, is_running, latest_token, publish, refuse_overtaken
from emoray.errors import BatchError
from emoray.storage import StoragePath


@pytest.fixture
def store() -> StoragePath:
    return StoragePath(_MockFileSystem(), "bucket/night-1")


def test_only_one_driver_at_a_time_and_each_has_a_higher_fencing_token(disk):
    out = disk / "new" / "out"
    assert not is_running(out)
    with hold_folder(out) as first:
        assert is_running(out)
        assert latest_token(out) == first
        with (
            pytest.raises(BatchError, match=r"is in use by process \d+ on .*; wait for it to end"),
            hold_folder(out),
        ):
            pass
    assert not is_running(out)
    with hold_folder(out) as second:
        assert second > first


def test_a_driver_that_is_gone_holds_no_lock(disk):
    publish({disk / "run.lock": b"7 process 1 on nowhere\n"})
    with hold_folder(disk) as token:
        assert token == 8


def test_a_folder_that_cannot_be_made_is_said(disk):
    publish({disk / "file": b""})
    with pytest.raises(BatchError, match="cannot be written"), hold_folder(disk / "file" / "out"):
        pass


def test_every_drive_has_a_higher_fencing_token_and_earlier_ones_may_no_longer_commit(folder):
    assert latest_token(folder) == 0
    with hold_folder(folder) as first:
        refuse_overtaken(folder, first)
    with hold_folder(folder) as second:
        assert second > first
        refuse_overtaken(folder, second)
        with pytest.raises(BatchError, match="has been taken over by another run"):
            refuse_overtaken(folder, first)


def test_a_second_driver_takes_over_a_store_and_says_so_to_the_first(store):
    with hold_folder(store) as first, hold_folder(store) as second:
        assert is_running(store) is None
        assert latest_token(store) == second > first
        with pytest.raises(BatchError, match="has been taken over"):
            refuse_overtaken(store, first)


def test_drives_of_a_store_that_start_at_the_same_moment_differ(store, monkeypatch):
    monkeypatch.setattr(publishing, "latest_token", lambda out: 7)  # neither sees the other's claim
    with hold_folder(store) as one, hold_folder(store) as other:
        assert one != other
        assert min(one, other) > 7


def test_a_claim_says_whose_it_is(store):
    with hold_folder(store) as token:
        assert (store / "fences" / f"{token:020d}").read_bytes().startswith(b"process ")
