from __future__ import annotations

import pytest

from emoray.batch import stored_manifest as stored
from emoray.batch.ledger import Layout
from emoray.batch.publish import publish
from emoray.batch.stored_manifest import (
    SCHEMA,
    CheckedRow,
    difference,
    read_manifest_rows,
    request_ids,
    write_manifest_rows,
)  # fmt: skip
from emoray.errors import BatchError
from emoray.request import REQUEST_OPTIONS, GenerationRequest, Result
from emoray.storage import StoragePath


@pytest.fixture
def layout(folder: StoragePath) -> Layout:
    return Layout(folder, rows=5, shard_rows=2)


def request(name: str, **fields: object) -> GenerationRequest:
    return GenerationRequest(**{"id": name, "seed": "a.mid", "emotion": "sad"} | fields)


def row_text(row: CheckedRow) -> object:
    return row if isinstance(row, GenerationRequest) else (row.id, row.error)


def test_the_columns_are_the_fields_of_a_request():
    assert SCHEMA.names == ["row", *REQUEST_OPTIONS, "error"]


def test_rows_come_back_by_shard(layout):
    rows = [
        request("a", notes=40, random_seed=2**63 - 1),
        Result(id="b", error="seed: is missing"),
        request("c", seed="c.wav", image="c.png", strength=0.5, guidance="none", emotion=None),
        request("d", curve=[[0, 1], [3.5, -1, 0]], without_seed=True),
        request("e", emotion=0.25, seconds=9.5, temperature=0.0),
    ]
    write_manifest_rows(layout, rows)
    found = [row for number in layout.shards for row in read_manifest_rows(layout, number)]
    assert [row_text(row) for row in found] == [row_text(row) for row in rows]
    assert [row.asked for row in found if isinstance(row, GenerationRequest)] == [
        row.asked for row in rows if isinstance(row, GenerationRequest)
    ]


def test_a_stored_manifest_that_is_damaged_or_of_another_run_is_refused(layout):
    with pytest.raises(BatchError, match="start again in another folder"):
        read_manifest_rows(layout, 0)
    write_manifest_rows(layout, [request(str(number)) for number in range(1)])
    with pytest.raises(BatchError, match=r"does not fit run\.json"):
        read_manifest_rows(layout, 0)


def test_a_large_manifest_is_stored_in_many_files_and_any_shard_is_found(folder, monkeypatch):
    monkeypatch.setattr(stored, "_ROWS_IN_FILE", 6)
    layout = Layout(folder, rows=23, shard_rows=2)
    write_manifest_rows(layout, (request(f"id-{row}") for row in range(1, 24)))  # not a list
    assert len((folder / "manifest").files()) == 4
    found = [[row.id for row in read_manifest_rows(layout, number)] for number in layout.shards]
    assert found == [[f"id-{row}" for row in layout.rows_of(number)] for number in layout.shards]
    names = ["id-3", "id-4", "id-5", "id-6", "id-11", "id-12", "id-23"]
    assert list(request_ids(layout, [1, 2, 5, 11])) == names


def test_a_stored_manifest_with_other_columns_is_refused(layout):
    write_manifest_rows(layout, [request(str(row)) for row in range(1, 6)])
    publish({layout.out / "manifest" / "part-000000.parquet": b"PAR1 and no more"})
    with pytest.raises(BatchError, match="start again in another folder"):
        read_manifest_rows(layout, 0)


ROWS = [request(f"row-{number}") for number in range(1, 5)]


def test_the_first_row_that_differs_is_named_with_all_that_differs_in_it():
    now = [ROWS[0], request("row-2", seed="b.mid", notes=9), ROWS[2], request("row-4", emotion=1)]
    assert difference(ROWS, now) == "row 2: seed 'a.mid', now 'b.mid'; notes none, now 9; 2 rows differ"


def test_a_default_that_is_written_out_is_a_difference():
    assert difference(ROWS[:1], [request("row-1", strength=1)]) == (
        "row 1: strength none, now 1.0; 1 row differs"
    )


def test_rows_that_are_gone_or_wrong_count():
    assert difference(ROWS, ROWS[:2]) == "row 3 is gone; 2 rows differ"
    wrong = [Result(id=row.id, error="id: twice") for row in ROWS]
    assert "error none, now 'id: twice'; 4 rows differ" in difference(ROWS, wrong)
    assert difference(ROWS, ROWS) == "its rows say the same in other bytes"


def test_a_long_value_is_cut():
    assert len(difference(ROWS, [request(row.id, seed="x" * 9999) for row in ROWS])) < 200
