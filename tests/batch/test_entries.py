from __future__ import annotations

import pytest

from emoray.batch import entries as stored
from emoray.batch.entries import entry_ids, read_entries, write_entries
from emoray.batch.ledger import Layout
from emoray.batch.publish import publish
from emoray.errors import BatchError
from emoray.readers.manifest import Entry
from emoray.storage import Place


@pytest.fixture
def layout(folder: Place) -> Layout:
    return Layout(folder, rows=5, grain=2)


def test_entries_come_back_by_grain(layout):
    entries = [
        Entry(row=1, id="a", seed="a.mid", valence=-1.0, notes=40, random_seed=2**63 - 1),
        Entry(row=2, id="b", error="seed: is missing"),
        Entry(row=3, id="c", seed="c.wav", image="c.png", strength=0.5, guidance="none"),
        Entry(row=4, id="d", seed="d.mid", error="seed d.mid: does not exist", mendable=True),
        Entry(row=5, id="e", seed="e.mid", valence=0.25, seconds=9.5, temperature=0.0),
    ]
    write_entries(layout, entries)
    assert [entry for number in layout.grains for entry in read_entries(layout, number)] == entries


def test_a_stored_manifest_that_is_damaged_or_of_another_run_is_refused(layout):
    with pytest.raises(BatchError, match="start again in another folder"):
        read_entries(layout, 0)
    write_entries(layout, [Entry(row=number, id=str(number)) for number in range(2, 7)])
    with pytest.raises(BatchError, match=r"does not fit run\.json"):
        read_entries(layout, 0)


def test_a_large_manifest_is_stored_in_many_files_and_any_grain_is_found(folder, monkeypatch):
    monkeypatch.setattr(stored, "_ROWS_IN_FILE", 6)
    layout = Layout(folder, rows=23, grain=2)
    entries = (Entry(row=row, id=f"id-{row}", seed="a.mid") for row in range(1, 24))  # not a list
    write_entries(layout, entries)
    assert len((folder / "manifest").files()) == 4
    found = [[entry.row for entry in read_entries(layout, number)] for number in layout.grains]
    assert found == [list(layout.rows_of(number)) for number in layout.grains]
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
    write_entries(layout, [Entry(row=row, id=str(row)) for row in range(1, 6)])
    publish({layout.out / "manifest" / "part-000000.parquet": b"PAR1 and no more"})
    with pytest.raises(BatchError, match="start again in another folder"):
        read_entries(layout, 0)
