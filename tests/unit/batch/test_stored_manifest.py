from __future__ import annotations

import pytest

from emoray.batch import stored_manifest as stored
from emoray.batch.ledger import Layout
from emoray.batch.publish import publish
from emoray.batch.stored_manifest import entry_ids, read_manifest_rows, write_manifest_rows
from emoray.errors import BatchError
from emoray.readers.manifest import ManifestRow
from emoray.storage import StoragePath


@pytest.fixture
def layout(folder: StoragePath) -> Layout:
    return Layout(folder, rows=5, shard=2)


def test_entries_come_back_by_grain(layout):
    entries = [
        ManifestRow(row=1, id="a", seed="a.mid", valence=-1.0, notes=40, random_seed=2**63 - 1),
        ManifestRow(row=2, id="b", error="seed: is missing"),
        ManifestRow(row=3, id="c", seed="c.wav", image="c.png", strength=0.5, guidance="none"),
        ManifestRow(row=4, id="d", seed="d.mid", error="seed d.mid: does not exist", mendable=True),
        ManifestRow(row=5, id="e", seed="e.mid", valence=0.25, seconds=9.5, temperature=0.0),
    ]
    write_manifest_rows(layout, entries)
    assert [entry for number in layout.shards for entry in read_manifest_rows(layout, number)] == entries


def test_a_stored_manifest_that_is_damaged_or_of_another_run_is_refused(layout):
    with pytest.raises(BatchError, match="start again in another folder"):
        read_manifest_rows(layout, 0)
    write_manifest_rows(layout, [ManifestRow(row=number, id=str(number)) for number in range(2, 7)])
    with pytest.raises(BatchError, match=r"does not fit run\.json"):
        read_manifest_rows(layout, 0)


def test_a_large_manifest_is_stored_in_many_files_and_any_grain_is_found(folder, monkeypatch):
    monkeypatch.setattr(stored, "_ROWS_IN_FILE", 6)
    layout = Layout(folder, rows=23, shard=2)
    entries = (ManifestRow(row=row, id=f"id-{row}", seed="a.mid") for row in range(1, 24))  # not a list
    write_manifest_rows(layout, entries)
    assert len((folder / "manifest").files()) == 4
    found = [[entry.row for entry in read_manifest_rows(layout, number)] for number in layout.shards]
    assert found == [list(layout.rows_of(number)) for number in layout.shards]
    assert list(entry_ids(layout, [1, 2, 5, 11])) == [
        "id-3",
        "id-4",
        "id-5",
        "id-6",
        "id-11",
        "id-12",
        "id-23",
    ]


def test_a_stored_manifest_with_other_columns_is_refused(layout):
    write_manifest_rows(layout, [ManifestRow(row=row, id=str(row)) for row in range(1, 6)])
    publish({layout.out / "manifest" / "part-000000.parquet": b"PAR1 and no more"})
    with pytest.raises(BatchError, match="start again in another folder"):
        read_manifest_rows(layout, 0)
