from __future__ import annotations

import pytest

from emoray.batch.ledger import Layout
from emoray.batch.publish import count_deaths, publish, scratch_files, sweep
from emoray.errors import BatchError
from emoray.storage import StoragePath


@pytest.fixture
def layout(folder: StoragePath) -> Layout:
    return Layout(folder, rows=8, shard_rows=4)


def die_over(layout: Layout, number: int, token: int) -> None:
    """As a worker that is killed: what it would have done in the end is not done."""
    attempt = count_deaths(layout.part(number), token)
    attempt.__enter__()
    [mark] = scratch_files(layout.out)
    data = (layout.out / mark).read_bytes()
    attempt.__exit__(None, None, None)
    publish({layout.out / mark: data})


def deaths(layout: Layout, number: int, token: int) -> int:
    with count_deaths(layout.part(number), token) as found:
        return found


def test_who_ends_leaves_no_trace_and_who_is_killed_is_counted(layout):
    assert deaths(layout, 0, 1) == 0
    assert scratch_files(layout.out) == []
    die_over(layout, 0, 1)
    die_over(layout, 0, 1)
    assert (deaths(layout, 0, 1), deaths(layout, 1, 1)) == (2, 0)
    assert deaths(layout, 0, 1) == 0, "it has ended, so nobody is to blame any more"


def test_who_ends_by_an_error_leaves_no_trace_either(layout):
    with pytest.raises(RuntimeError), count_deaths(layout.part(0), 1):
        raise RuntimeError
    assert deaths(layout, 0, 1) == 0


def test_another_drive_counts_anew_and_sweeps(layout):
    die_over(layout, 0, 1)
    assert deaths(layout, 0, 2) == 0
    sweep(layout.out)
    assert deaths(layout, 0, 1) == 0


def test_an_error_is_told_although_the_mark_cannot_be_taken_away_either(layout, monkeypatch):
    def refuse(self):
        raise BatchError(self, "cannot be deleted (Read-only file system)")

    monkeypatch.setattr(StoragePath, "delete", refuse)
    with pytest.raises(BatchError, match="cannot be written"), count_deaths(layout.part(0), 1):
        raise BatchError("part", "cannot be written (Read-only file system)")
    with pytest.raises(BatchError, match="cannot be deleted"):
        deaths(layout, 1, 1)
