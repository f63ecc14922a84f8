from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from emoray.batch import ledger
from emoray.batch.audit import results, status, verify, watch
from emoray.batch.folder import Run, driving
from emoray.batch.ledger import SCHEMA, Layout, music_path
from emoray.errors import BatchError
from emoray.readers.manifest import Entry


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Five rows in grains of two, all done: the fourth failed, the others have music."""
    layout = Layout(tmp_path, rows=5, grain=2)
    ledger.write_entries(layout, [Entry(row=place, id=str(place)) for place in range(1, 6)])
    Run(identity={}, settings={}, manifest="m.csv", rows=5, grain=2, versions={}).save(tmp_path)
    for number in layout.grains:
        commit(layout, number)
    return tmp_path


def commit(layout: Layout, number: int) -> None:
    rows, music = [], {}
    for place in layout.rows_of(number):
        row = dict.fromkeys(SCHEMA.names) | {"row": place, "id": str(place), "status": "ok"}
        if place == 4:
            row |= {"status": "failed", "error": "seed d.mid: does not exist"}
        else:
            row |= {"midi": music_path(str(place)), "sha256": hashlib.sha256(b"music").hexdigest()}
            music[row["midi"]] = b"music"
        rows.append(row)
    ledger.commit(layout, number, rows, music)


def test_a_whole_folder_is_sound(out):
    assert verify(out).sound
    assert [(row["row"], row["status"]) for row in results(out)] == [
        (1, "ok"), (2, "ok"), (3, "ok"), (4, "failed"), (5, "ok"),
    ]  # fmt: skip


def test_status_counts_what_is_done_and_why_rows_failed(out):
    found = status(out)
    assert (found.rows, found.done, found.ok, found.failed, found.complete) == (5, 5, 4, 1, True)
    assert (found.reasons, found.running) == ({"does not exist": 1}, False)
    next((out / "results").iterdir()).unlink()
    with driving(out):
        assert (status(out).complete, status(out).running) == (False, True)


def test_a_watch_reads_only_parts_that_are_new(out, monkeypatch):
    read, reading = [], ledger.read_part
    monkeypatch.setattr(
        ledger, "read_part", lambda layout, number: read.append(number) or reading(layout, number)
    )
    layout, last = Layout(out, rows=5, grain=2), out / "results" / "part-000002.parquet"
    last.rename(out / "later")
    look = watch(out).look
    assert (look().done, read) == (4, [0, 1])
    (out / "later").rename(last)
    found = look()
    assert (found.done, found.reasons, read) == (5, {"does not exist": 1}, [0, 1, 2])
    commit(layout, 1)  # as a retry does: the part is replaced
    assert (look().done, read) == (5, [0, 1, 2, 1])
    assert (look().done, read) == (5, [0, 1, 2, 1])


def test_a_part_that_is_damaged_counts_as_not_done(out):
    part = out / "results" / "part-000002.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    assert status(out).done == 4


def test_everything_that_is_wrong_is_named(out):
    (out / music_path("1")).unlink()
    (out / music_path("2")).write_bytes(b"MUSIC")
    stray, scratch = out / "midi" / "stray.mid", out / "midi" / ".x.mid.0.emoray-tmp"
    stray.write_bytes(b"")
    scratch.write_bytes(b"")
    part = out / "results" / "part-000002.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    found = verify(out)
    assert not found.sound
    assert found.missing == [music_path("1")]
    assert found.corrupt == [music_path("2")]
    assert found.stray == ["midi/stray.mid"]  # and not the music of row 5, whose part is to be made again
    assert found.temporary == ["midi/.x.mid.0.emoray-tmp"]
    assert (found.damaged, found.pending, found.duplicate) == (["part-000002.parquet"], 1, [])


def test_a_folder_that_is_no_batch_is_refused(tmp_path):
    for look in (status, results, verify):
        with pytest.raises(BatchError, match="is not a batch folder"):
            look(tmp_path)
