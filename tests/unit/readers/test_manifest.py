from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emoray.config import Limits
from emoray.errors import ManifestError, RequestError
from emoray.readers import manifest
from emoray.readers.manifest import COLUMNS, check_files, open_manifest, read_files, read_manifest
from emoray.request import REQUEST_OPTIONS, File, GenerationRequest, Result
from emoray.storage import storage_path

GOOD = {"id": "good", "seed": "a.mid", "emotion": "happy"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    for name in ("a.mid", "b.wav", "face.png"):
        (folder / name).write_bytes(b"bytes")
    (tmp_path / "outside.mid").write_bytes(b"secret")
    return folder


def jsonl(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def read(*rows: object) -> list[GenerationRequest | Result]:
    return read_manifest(jsonl(*rows), name="manifest.jsonl")


def errors(rows: list[GenerationRequest | Result]) -> list[str]:
    return [row.error or "" if isinstance(row, Result) else "" for row in rows]


def error_of(root: Path, **cells: object) -> str:
    """The error of one row among good ones, at once or when its files are read."""
    first, row, third = read(GOOD | {"id": "1"}, GOOD | {"id": "2"} | cells, GOOD | {"id": "3"})
    assert errors([first, third]) == ["", ""]
    if isinstance(row, Result):
        return row.error or ""
    refusals = []
    for look in (check_files, read_files):
        try:
            look(row, storage_path(root), Limits())
        except RequestError as err:
            refusals.append(str(err))
    assert len(refusals) in (0, 2), "both say the same"
    return refusals[0] if refusals else ""


def test_every_cell_arrives_in_its_field():
    row = {name: option.example for name, option in REQUEST_OPTIONS.items()}
    [request] = read(row)
    assert request == GenerationRequest(**row)
    assert request.asked.keys() == set(COLUMNS)
    assert (request.seed, request.image) == (File("hum.wav"), File("face.jpg"))
    assert (request.emotion, request.notes, request.without_seed) == (1.0, 60, True)


def test_emotions_of_all_four_quadrants_and_curves_arrive_in_their_fields():
    curve = [[0, -1], [20, 1, 0.5]]
    calm, excited, points, text = read(
        {"seed": "a.mid", "emotion": "calm", "top_p": 0.9},
        {"seed": "a.mid", "emotion": "calm", "arousal": 0.5},
        {"seed": "a.mid", "curve": curve},
        {"seed": "a.mid", "curve": json.dumps(curve)},
    )
    assert [(one.emotion, one.arousal) for one in (calm, excited)] == [(1.0, -1.0), (1.0, 0.5)]
    assert calm.top_p == 0.9
    assert points.curve == text.curve == ((0.0, -1.0, -1.0), (20.0, 1.0, 0.5))


def test_all_formats_say_the_same():
    rows = [
        {"id": "one", "seed": "a.mid", "image": None, "emotion": "sad", "notes": 40, "strength": 0.5},
        {"id": None, "seed": "b.wav", "image": "face.png", "emotion": None, "notes": None, "strength": 2.0},
    ]
    text = "id,seed,image,emotion,notes,strength\r\none,a.mid,,sad,40,0.5\r\n,b.wav,face.png,,,2.0\r\n"
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    requests = read(*rows)
    assert errors(requests) == ["", ""]
    assert read_manifest(text.encode("utf-8-sig"), name="m.csv") == requests
    assert read_manifest(parquet.getvalue(), name="m.parquet") == requests


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"seed": None}, "seed: is missing"),
        ({"emotion": None}, "emotion: is missing, and so is an image"),
        ({"emotion": "joyful"}, "'joyful' is not an emotion"),
        ({"curve": "[[5, 1], [3, 1]]"}, "curve: goes from 5 to 3 seconds"),
        ({"curve": [[0, 9]]}, "curve: has the valence 9.0"),
        ({"arousal": 2}, "arousal: must be a number from -1"),
        ({"top_p": 0}, "top_p: must be a number from 0.01"),
        ({"emotion": True}, "not an emotion"),
        ({"emotion": math.nan}, "not an emotion"),
        ({"emotion": 1.5}, "not an emotion"),
        ({"emotion": ["happy"]}, "not an emotion"),
        ({"seconds": math.nan}, "seconds: must be a number from 0.1 to 3600.0, got nan"),
        ({"strength": math.inf}, "strength: must be"),
        ({"strength": "1e999"}, "strength: must be"),
        ({"temperature": -1}, "temperature: must be"),
        ({"temperature": True}, "temperature: must be"),
        ({"temperature": {"a": 1}}, "temperature: must be"),
        ({"notes": 40.5}, "notes: must be a whole number"),
        ({"notes": "forty"}, "notes: must be a whole number"),
        ({"notes": "4_0"}, "notes: must be a whole number"),
        ({"notes": 0}, "notes: must be"),
        ({"notes": 10**30}, "notes: must be"),
        ({"random_seed": -1}, "random_seed: must be"),
        ({"random_seed": 2**63}, "random_seed: must be"),
        ({"guidance": "louder"}, "guidance: louder is unknown"),
        ({"guidance": 7}, "guidance: 7 is unknown"),
        ({"seed": 7}, "seed: must be a path"),
        ({"seed": "\ud800.mid"}, "seed: must be a path"),
        ({"seed": "a\0.mid"}, "seed: must be a path"),
        ({"image": {"path": "face.png"}}, "image: must be a path"),
        ({"without_seed": "perhaps"}, "without_seed: must be true or false"),
        ({"id": "../x"}, r"id: .* got \.\./x"),
        ({"id": ".."}, "id: must be"),
        ({"id": "."}, "id: must be"),
        ({"id": "a/b"}, "id: must be"),
        ({"id": "a\n"}, "id: must be"),
        ({"id": "x" * 129}, "id: must be"),
        ({"id": True}, "id: must be"),
        ({"seed": "/etc/passwd"}, "seed /etc/passwd: is an absolute path"),
        ({"seed": "../outside.mid"}, "contains '..'"),
        ({"seed": "a/../../outside.mid"}, "contains '..'"),
        ({"seed": "https://example.org/a.mid"}, "is a URL"),
        ({"image": "file:///face.png"}, "is a URL"),
        ({"seed": "gone.mid"}, "seed gone.mid: does not exist"),
        ({"image": "a.mid/face.png"}, "image a.mid/face.png: cannot be read"),
        ({"seed": "x" * 300}, "cannot be read"),
        ({"seed": "."}, "is a folder"),
    ],
)
def test_a_bad_row_fails_alone_with_its_reason(root, cells, reason):
    error = error_of(root, **cells)
    assert re.search(reason, error), error
    assert "\n" not in error


def test_a_link_may_not_leave_the_root_but_may_stay_in_it(root):
    (root / "out.mid").symlink_to(root.parent / "outside.mid")
    (root / "away").symlink_to(root.parent)
    (root / "loop.mid").symlink_to("loop.mid")
    (root / "in.mid").symlink_to("a.mid")
    assert "leaves the root" in error_of(root, seed="out.mid")
    assert "leaves the root" in error_of(root, seed="away/outside.mid")
    assert "cannot be read" in error_of(root, seed="loop.mid")
    assert error_of(root, seed="in.mid") == ""


def test_a_pipe_is_no_file(root):
    os.mkfifo(root / "pipe.mid")
    assert "not a regular file" in error_of(root, seed="pipe.mid")


def test_a_file_over_the_limit_is_refused_by_its_kind(root):
    limits = Limits(midi_bytes=4, audio_bytes=5, picture_bytes=4)
    midi, wav, picture = read(
        GOOD, GOOD | {"id": "wav", "seed": "b.wav"}, GOOD | {"image": "face.png", "id": "p"}
    )
    with pytest.raises(RequestError) as caught:
        read_files(midi, storage_path(root), limits)
    assert str(caught.value) == "seed a.mid: has 5 bytes, the limit is 4; give a shorter file"
    assert read_files(wav, storage_path(root), limits).seed == File("b.wav", b"bytes")
    with pytest.raises(RequestError, match=r"image face\.png: has 5 bytes"):
        read_files(picture.model_copy(update={"seed": File("b.wav")}), storage_path(root), limits)


def test_a_file_that_is_not_there_yet_is_no_error_of_the_manifest(root):
    [late] = read(GOOD | {"seed": "late.mid"})
    with pytest.raises(RequestError, match=r"seed late\.mid: does not exist"):
        read_files(late, storage_path(root), Limits())
    (root / "late.mid").write_bytes(b"here")
    assert read_files(late, storage_path(root), Limits()).seed.content == b"here"


def test_the_second_row_with_an_id_names_the_first():
    reason = "id good: is given twice, first in row 1; give each row an id of its own"
    assert errors(read(GOOD, GOOD | {"id": "other"}, GOOD, GOOD)) == ["", "", reason, reason]


def test_a_row_without_id_is_named_by_what_it_says():
    row = {"seed": "a.mid", "emotion": "sad"}
    text = json.dumps(row | {"emotion": "sad"}, sort_keys=True)
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    same = {"emotion": "sad", "seed": "a.mid", "notes": None}
    requests = read(row, GOOD, same, row, row | {"emotion": "happy"})
    assert [one.id for one in requests][:4] == [expected, "good", f"{expected}-2", f"{expected}-3"]
    assert len({one.id for one in requests}) == 5


def test_a_made_up_id_never_takes_one_that_was_given():
    row = {"seed": "a.mid", "emotion": "sad"}
    name = read(row)[0].id
    requests = read(row | {"id": name}, row, row)
    assert [one.id for one in requests] == [name, f"{name}-2", f"{name}-3"]
    assert errors(requests) == [""] * 3


def test_broken_lines_of_jsonl_are_rows_with_their_line_number():
    good = json.dumps(GOOD).encode()
    lines = [good, b'{"seed": ', b"", b"[1, 2]", b'{"seed": "\xff"}', b'{"id": 1, "id": 2}', b"[" * 100_000]
    rows = read_manifest(b"\n".join(lines), name="m.jsonl")
    found = errors(rows)
    assert found[0] == ""
    assert found[1].startswith("line 2 is not a JSON object (Expecting value at column")
    assert found[2].startswith("line 4 is JSON, but not an object")
    assert found[3].startswith("line 5 is not UTF-8")
    assert found[4].startswith("line 6 is not a JSON object (id is given twice)")
    assert found[5].startswith("line 7 is not a JSON object")
    assert len({row.id for row in rows}) == len(rows) == 6


def test_a_csv_row_with_too_few_or_too_many_cells_fails_alone():
    text = b"id,seed,emotion\n1,a.mid,sad\n2,a.mid\n\n3,a.mid,sad,more\n4,a.mid,happy\n"
    found = errors(read_manifest(text, name="m.csv"))
    assert [error == "" for error in found] == [True, False, False, True]
    assert "line 3 has 2 cells, the header 3" in found[1]
    assert "line 5 has 4 cells" in found[2]


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"", "m.jsonl", "m.jsonl: holds no rows"),
        (b"\n\n", "m.jsonl", "holds no rows"),
        (b"", "m.csv", "holds no rows"),
        (b"id,seed,emotion\n", "m.csv", "holds no rows"),
        (b"{}", "m.json", "is not one of .jsonl .ndjson .csv .parquet"),
        (
            jsonl(GOOD, GOOD | {"strenght": 1}),
            "m.jsonl",
            "row 2 has an unknown column strenght; known are id",
        ),
        (b"seed;emotion\na.mid;sad\n", "m.csv", "unknown column seed;emotion"),
        (b"seed,seed\na,b\n", "m.csv", "column seed twice"),
        (b"\na.mid,sad\n", "m.csv", "begins with an empty line; write the columns there"),
        (b'seed,emotion\na.mid,"sad\nb.mid,sad\n', "m.csv", "is not CSV .*mend its quotes"),
        (b"seed,emotion\na.mid,\xff\n", "m.csv", "line 2 is not UTF-8"),
        ("{}".encode("utf-16"), "m.jsonl", "is UTF-16"),
        (b"not parquet", "m.parquet", "is not Parquet"),
    ],
)
def test_a_manifest_that_is_wrong_as_a_whole_is_refused(data, name, reason):
    with pytest.raises(ManifestError, match=reason):
        read_manifest(data, name=name)


def test_thousands_of_twins_all_get_names():
    rows = read_manifest(jsonl({"seed": "gone.mid", "emotion": "sad"}) * 5_000, name="m.jsonl")
    assert rows[-1].id == f"{rows[0].id}-5000"


def test_a_made_up_id_never_takes_one_that_is_given_further_down():
    row = {"seed": "a.mid", "emotion": "sad"}
    name = read(row)[0].id
    made, twin, given, numbered = read(row, row, row | {"id": name}, row | {"id": f"{name}-2"})
    assert [given.id, numbered.id] == [name, f"{name}-2"]
    assert [made.id, twin.id] == [f"{name}-3", f"{name}-4"]


def test_two_ids_with_the_same_hash_are_two_ids(monkeypatch):
    real = manifest._hash
    monkeypatch.setattr(manifest, "_hash", lambda name: real("twin" if name in ("good", "other") else name))
    found = errors(read(GOOD, GOOD | {"id": "other"}, GOOD))
    assert found[:2] == ["", ""]
    assert "id good: is given twice, first in row 1" in found[2]


def test_rows_are_taken_one_after_the_other():
    rows = open_manifest(jsonl(GOOD, GOOD | {"id": "b"}), name="m.jsonl")
    assert rows.rows == 2
    assert [row.id for row in rows.requests()] == ["good", "b"]
