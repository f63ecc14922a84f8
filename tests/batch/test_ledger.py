from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from emoray.batch import ledger
from emoray.batch.ledger import SCHEMA, Layout, LedgerRow, music_path
from emoray.errors import BatchError
from emoray.readers.manifest import Entry


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, rows=5, grain=2)


def row(number: int, *, ok: bool = True) -> LedgerRow:
    item_id = f"item-{number}"
    made = {"midi": music_path(item_id), "sha256": hashlib.sha256(item_id.encode()).hexdigest()}
    status = {"status": "ok"} | made if ok else {"status": "failed", "error": "no"}
    return dict.fromkeys(SCHEMA.names) | {"row": number, "id": item_id, "attempts": 1} | status


def commit(layout: Layout, number: int, *, ok: bool = True) -> list[LedgerRow]:
    rows = [row(place, ok=ok) for place in layout.rows_of(number)]
    ledger.commit(layout, number, rows, {one["midi"]: one["id"].encode() for one in rows if one["midi"]})
    return rows


def test_rows_are_cut_into_grains_and_none_is_left(layout):
    assert [list(layout.rows_of(number)) for number in layout.grains] == [[1, 2], [3, 4], [5]]


def test_entries_come_back_by_grain(layout):
    entries = [
        Entry(row=1, id="a", seed="a.mid", valence=-1.0, notes=40, random_seed=2**63 - 1),
        Entry(row=2, id="b", error="seed: is missing"),
        Entry(row=3, id="c", seed="c.wav", image="c.png", strength=0.5, guidance="none"),
        Entry(row=4, id="d", seed="d.mid", error="seed d.mid: does not exist", mendable=True),
        Entry(row=5, id="e", seed="e.mid", valence=0.25, seconds=9.5, temperature=0.0),
    ]
    ledger.write_entries(layout, entries)
    assert [entry for number in layout.grains for entry in ledger.read_entries(layout, number)] == entries


def test_a_stored_manifest_that_is_damaged_or_of_another_run_is_refused(layout):
    with pytest.raises(BatchError, match="start again in another folder"):
        ledger.read_entries(layout, 0)
    ledger.write_entries(layout, [Entry(row=number, id=str(number)) for number in range(2, 7)])
    with pytest.raises(BatchError, match=r"does not fit run\.json"):
        ledger.read_entries(layout, 0)


def test_what_has_no_part_is_pending_and_results_keep_the_order(layout):
    assert ledger.pending(layout) == [0, 1, 2]
    last, first = commit(layout, 2), commit(layout, 0)
    assert ledger.pending(layout) == [1]
    assert list(ledger.results(layout)) == first + last


@pytest.mark.parametrize("ok", [True, False])
def test_every_part_has_the_same_columns_even_one_of_failures_only(layout, ok):
    commit(layout, 0, ok=ok)
    assert pq.read_schema(layout.part(0)).equals(SCHEMA)


def test_a_grain_committed_twice_is_there_once(layout):
    rows = commit(layout, 0)
    before = layout.part(0).read_bytes()
    commit(layout, 0)
    assert layout.part(0).read_bytes() == before
    assert list(ledger.results(layout)) == rows
    assert len(ledger.music_files(layout.out)) == 2


@pytest.mark.parametrize("damage", ["truncated", "empty", "of another grain"])
def test_a_damaged_part_is_pending(layout, damage):
    commit(layout, 0)
    commit(layout, 1)
    data = layout.part(0).read_bytes()
    damaged = {"truncated": data[:-20], "empty": b"", "of another grain": layout.part(1).read_bytes()}
    layout.part(0).write_bytes(damaged[damage])
    assert ledger.read_part(layout, 0) is None
    assert ledger.pending(layout) == [0, 2]


def test_a_grain_whose_music_has_gone_is_pending(layout):
    rows = commit(layout, 0)
    (layout.out / rows[1]["midi"]).unlink()
    assert ledger.pending(layout) == [0, 1, 2]


def test_failed_grains_are_those_with_a_failed_row(layout):
    commit(layout, 0)
    commit(layout, 2, ok=False)
    assert ledger.failed_grains(layout) == [2]


def test_a_grain_without_a_row_for_each_entry_is_a_mistake(layout):
    with pytest.raises(AssertionError, match="one results row for each entry"):
        ledger.commit(layout, 0, [row(1)], {})


def test_a_part_is_written_only_after_its_music(layout):
    (layout.out / "midi").write_bytes(b"in the way")
    with pytest.raises(BatchError, match="cannot be written"):
        commit(layout, 0)
    assert not layout.part(0).exists()
