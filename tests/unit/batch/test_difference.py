from __future__ import annotations

from dataclasses import replace

from emoray.batch.difference import difference
from emoray.readers.manifest import ManifestRow

ROWS = [ManifestRow(row=number, id=f"item-{number}", seed="a.mid", valence=1.0) for number in range(1, 5)]


def test_the_first_row_that_differs_is_named_with_all_that_differs_in_it():
    now = [ROWS[0], replace(ROWS[1], seed="b.mid", notes=9), ROWS[2], replace(ROWS[3], valence=-1.0)]
    assert difference(ROWS, now) == "row 2: seed 'a.mid', now 'b.mid'; notes none, now 9; 2 rows differ"


def test_rows_that_are_gone_count():
    assert difference(ROWS, ROWS[:2]) == "row 3 is gone; 2 rows differ"


def test_a_file_that_has_gone_or_come_is_no_difference_of_the_manifest():
    gone = [replace(row, error="seed a.mid: does not exist", mendable=True) for row in ROWS]
    assert difference(ROWS, gone) == "its rows say the same in other bytes"
    assert "error none, now 'id" in difference(ROWS, [replace(row, error="id: twice") for row in ROWS])


def test_a_long_value_is_cut():
    assert len(difference(ROWS, [replace(row, curve="x" * 9999) for row in ROWS])) < 200
