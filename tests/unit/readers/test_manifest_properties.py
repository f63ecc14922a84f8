"""Manifests of any bytes: an error of the whole, or a request or an error a row; no file outside the root."""

import csv
import io
import json

import pytest
from doors import DOORS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emoray.readers.manifest import COLUMNS, read_manifest

CELL = st.none() | st.booleans() | st.integers(-5, 9) | st.floats() | st.text(max_size=6)
CELL |= st.sampled_from(
    ["a.mid", "../a.mid", "/etc/passwd", "link.mid", "happy", "[[0, 1]]", "\ud800", "x" * 130]
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from(COLUMNS), CELL | st.lists(CELL, max_size=2)), min_size=1, max_size=6
)
NEEDED = {"jsonl": b"", "csv": b"seed", "parquet": b"PAR1"}
"""What no manifest of a format does without."""
SETTINGS = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("door", ["jsonl", "csv", "parquet"])
@SETTINGS
@given(data=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="replace")))
def test_any_bytes_are_refused_or_read_row_by_row(door, data):
    """What was read has a row for each row, in order, and no path out of the root: ``enter`` looks."""
    taken = DOORS[door].enter(data)
    assert not taken or NEEDED[door] in data


@SETTINGS
@given(rows=ROWS)
def test_every_row_of_json_is_read_or_has_its_reason(rows):
    data = "\n".join(json.dumps(row) for row in rows).encode()
    assert len(read_manifest(data, name="m.jsonl")) == len(rows)
    DOORS["jsonl"].enter(data)


@SETTINGS
@given(rows=ROWS)
def test_every_row_of_csv_is_read_or_has_its_reason(rows):
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    data = file.getvalue().encode(errors="replace")
    assert len(read_manifest(data, name="m.csv")) == len(rows)
    DOORS["csv"].enter(data)
