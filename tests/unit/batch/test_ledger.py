from __future__ import annotations

import hashlib
import io

import pyarrow.parquet as pq
import pytest

from emoray.batch import ledger
from emoray.batch.ledger import SCHEMA, Layout, StoredRow, music_path
from emoray.batch.publish import publish
from emoray.errors import BatchError
from emoray.storage import StoragePath


@pytest.fixture
def layout(folder: StoragePath) -> Layout:
    return Layout(folder, rows=5, shard_rows=2)


def row(number: int, *, ok: bool = True) -> StoredRow:
    item_id = f"item-{number}"
    made = {"midi": music_path(item_id), "sha256": hashlib.sha256(item_id.encode()).hexdigest()}
    status = {"status": "ok"} | made if ok else {"status": "failed", "error": "no"}
    return dict.fromkeys(SCHEMA.names) | {"row": number, "id": item_id, "attempts": 1} | status


def commit(layout: Layout, number: int, *, ok: bool = True) -> list[StoredRow]:
    rows = [row(place, ok=ok) for place in layout.rows_of(number)]
    ledger.commit(layout, number, rows, {one["midi"]: one["id"].encode() for one in rows if one["midi"]})
    return rows


def test_rows_are_cut_into_grains_and_none_is_left(layout):
    assert [list(layout.rows_of(number)) for number in layout.shards] == [[1, 2], [3, 4], [5]]


def test_what_has_no_part_is_pending_and_results_keep_the_order(layout):
    assert ledger.pending(layout) == [0, 1, 2]
    last, first = commit(layout, 2), commit(layout, 0)
    assert ledger.pending(layout) == [1]
    assert list(ledger.results(layout)) == first + last


@pytest.mark.parametrize("ok", [True, False])
def test_every_part_has_the_same_columns_even_one_of_failures_only(layout, ok):
    commit(layout, 0, ok=ok)
    assert pq.read_schema(io.BytesIO(layout.part(0).read_bytes())).equals(SCHEMA)


def test_a_grain_committed_twice_is_there_once(layout):
    rows = commit(layout, 0)
    before = layout.part(0).read_bytes()
    commit(layout, 0)
    assert layout.part(0).read_bytes() == before
    assert list(ledger.results(layout)) == rows
    assert len(ledger.music_files(layout.out)) == 2


@pytest.mark.parametrize("damage", ["truncated", "empty", "of another shard"])
def test_a_damaged_part_is_pending(layout, damage):
    commit(layout, 0)
    commit(layout, 1)
    data = layout.part(0).read_bytes()
    damaged = {"truncated": data[:-20], "empty": b"", "of another shard": layout.part(1).read_bytes()}
    publish({layout.part(0): damaged[damage]})
    assert ledger.read_part(layout, 0) is None
    assert ledger.pending(layout) == [0, 2]


def test_a_grain_whose_music_has_gone_is_pending(layout):
    rows = commit(layout, 0)
    (layout.out / rows[1]["midi"]).delete()
    assert ledger.pending(layout) == [0, 1, 2]


def test_failed_grains_are_those_with_a_failed_row(layout):
    commit(layout, 0)
    commit(layout, 2, ok=False)
    assert ledger.failed_shards(layout) == [2]


def test_a_grain_without_a_row_for_each_entry_is_a_mistake(layout):
    with pytest.raises(AssertionError, match="one results row for each row"):
        ledger.commit(layout, 0, [row(1)], {})


def test_a_part_is_written_only_after_its_music(layout):
    publish({layout.out / "midi": b"in the way"})
    with pytest.raises(BatchError, match="cannot be written"):
        commit(layout, 0)
    assert not layout.part(0).exists()
