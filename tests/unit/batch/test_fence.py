from __future__ import annotations

import pytest
from pyarrow.fs import _MockFileSystem

from emoray.batch import fence as fences
from emoray.batch.fence import driving, fence_of, is_driven, refuse_overtaken
from emoray.batch.publish import publish
from emoray.errors import BatchError
from emoray.storage import StoragePath


@pytest.fixture
def store() -> StoragePath:
    return StoragePath(_MockFileSystem(), "bucket/night-1")


def test_only_one_driver_at_a_time_and_each_has_a_higher_fence(disk):
    out = disk / "new" / "out"
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


def test_a_driver_that_is_gone_holds_no_lock(disk):
    publish({disk / "run.lock": b"7 process 1 on nowhere\n"})
    with driving(disk) as fence:
        assert fence == 8


def test_a_folder_that_cannot_be_made_is_said(disk):
    publish({disk / "file": b""})
    with pytest.raises(BatchError, match="cannot be written"), driving(disk / "file" / "out"):
        pass


def test_every_drive_has_a_higher_fence_and_earlier_ones_may_no_longer_commit(folder):
    assert fence_of(folder) == 0
    with driving(folder) as first:
        refuse_overtaken(folder, first)
    with driving(folder) as second:
        assert second > first
        refuse_overtaken(folder, second)
        with pytest.raises(BatchError, match="has been taken over by another run"):
            refuse_overtaken(folder, first)


def test_a_second_driver_takes_over_a_store_and_says_so_to_the_first(store):
    with driving(store) as first, driving(store) as second:
        assert is_driven(store) is None
        assert fence_of(store) == second > first
        with pytest.raises(BatchError, match="has been taken over"):
            refuse_overtaken(store, first)


def test_drives_of_a_store_that_start_at_the_same_moment_differ(store, monkeypatch):
    monkeypatch.setattr(fences, "fence_of", lambda out: 7)  # neither sees the other's claim
    with driving(store) as one, driving(store) as other:
        assert one != other
        assert min(one, other) > 7


def test_a_claim_says_whose_it_is(store):
    with driving(store) as fence:
        assert (store / "fences" / f"{fence:020d}").read_bytes().startswith(b"process ")
