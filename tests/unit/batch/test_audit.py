from __future__ import annotations

import hashlib

import pytest

from emoray.batch import ledger
from emoray.batch.audit import results, status, verify, watch
from emoray.batch.folder import Run
from emoray.batch.ledger import SCHEMA, Layout, music_path
from emoray.batch.publish import hold_folder, publish
from emoray.batch.stored_manifest import write_manifest_rows
from emoray.errors import BatchError
from emoray.request import Result
from emoray.storage import StoragePath


@pytest.fixture
def out(folder: StoragePath) -> StoragePath:
    """Five rows in shards of two, all done: the fourth failed, the others have music."""
    layout = Layout(folder, rows=5, shard_rows=2)
    write_manifest_rows(layout, [Result(id=str(place), error="wrong") for place in range(1, 6)])
    Run(identity={}, settings={}, manifest="m.csv", root=".", rows=5, shard_rows=2, versions={}).save(folder)
    for number in layout.shards:
        commit(layout, number)
    return folder


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
    assert (found.reasons, bool(found.running)) == ({"does not exist": 1}, False)
    (out / "results" / "part-000001.parquet").delete()
    assert (status(out).done, status(out).complete) == (3, False)


def test_whether_a_driver_is_at_work_is_known_on_a_disk_only(out):
    on_disk = out.local is not None
    assert status(out).running is (False if on_disk else None)
    with hold_folder(out):
        assert status(out).running is (True if on_disk else None)


def test_a_watch_reads_only_parts_that_are_new(out, monkeypatch):
    read, reading = [], ledger.read_table
    monkeypatch.setattr(
        ledger,
        "read_table",
        lambda layout, number, columns: read.append(number) or reading(layout, number, columns),
    )
    layout, last = Layout(out, rows=5, shard_rows=2), out / "results" / "part-000002.parquet"
    later = last.read_bytes()
    last.delete()
    look = watch(out).look
    assert (look().done, sorted(read)) == (4, [0, 1])
    publish({last: later})
    found = look()
    assert (found.done, found.reasons, read[2:]) == (5, {"does not exist": 1}, [2])
    if out.local is None:
        return  # the store of these tests has no clock: a part that is as long as the one before is the same
    commit(layout, 1)  # as a retry does: the part is replaced
    assert (look().done, read[3:]) == (5, [1])
    assert (look().done, read[3:]) == (5, [1])


def test_a_part_that_is_damaged_counts_as_not_done(out):
    part = out / "results" / "part-000002.parquet"
    publish({part: part.read_bytes()[:-9]})
    assert status(out).done == 4


def test_everything_that_is_wrong_is_named(out):
    (out / music_path("1")).delete()
    part = out / "results" / "part-000002.parquet"
    publish({out / music_path("2"): b"MUSIC", part: part.read_bytes()[:-9]})
    publish({out / "midi" / name: b"" for name in ("stray.mid", ".x.mid.0.emoray-tmp")})
    found = verify(out)
    assert not found.sound
    assert found.missing == [music_path("1")]
    assert found.corrupt == [music_path("2")]
    assert found.stray == ["midi/stray.mid"]  # and not the music of row 5, whose part is to be made again
    assert found.temporary == (["midi/.x.mid.0.emoray-tmp"] if out.local else [])
    assert (found.damaged, found.pending, found.duplicate) == (["part-000002.parquet"], 1, [])


def test_music_that_two_rows_claim_is_named(out):
    rows = [row | {"midi": music_path("1")} for row in ledger.read_part(Run.load(out).layout(out), 1)]
    ledger.commit(Run.load(out).layout(out), 1, rows, {})
    assert verify(out).duplicate == [music_path("1")]


def test_a_folder_that_is_no_batch_is_refused(folder):
    for look in (status, results, verify):
        with pytest.raises(BatchError, match="is not a batch folder"):
            look(folder)
