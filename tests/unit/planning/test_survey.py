"""What is to be done, read off a manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emoray.errors import ManifestError
from emoray.planning.estimate import Workload
from emoray.planning.measurement import assumed, embedded_samples, survey
from emoray.request import GenerationRequest

ROWS = [
    {"seed": "a.mid", "emotion": "sad", "notes": 40},
    {"seed": "a.mid", "emotion": "sad", "seconds": 30},
    {"seed": "b.wav", "image": "c.jpg"},
    {"seed": "b.wav", "emotion": "happy", "notes": 200},
    {"seed": "gone.mid", "emotion": "happy"},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.mid", "b.wav", "c.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_a_manifest_tells_lengths_and_shares_of_the_rows_that_can_be_answered(root):
    data = "\n".join(map(json.dumps, ROWS)).encode()
    found = survey(data, "m.jsonl", root, "data")
    notes = (40 + 120 + 200) / 4  # 120 is what a row gets that asks for nothing
    assert found.work == Workload(
        rows=4, notes=notes, music_seconds=30 / 4, voices=0.5, pictures=0.25, engine="data"
    )
    assert found.intake > 0


def test_the_files_that_are_tried_are_those_of_the_manifest(root):
    found = survey("\n".join(map(json.dumps, ROWS)).encode(), "m.jsonl", root, "data").samples
    assert (set(found.midi), set(found.voice), set(found.picture)) == ({b"a.mid"}, {b"b.wav"}, {b"c.jpg"})


def test_a_manifest_without_a_good_row_is_refused(tmp_path):
    with pytest.raises(ManifestError, match=r"no row without an error.*does not exist"):
        survey(json.dumps(ROWS[0]).encode(), "m.jsonl", tmp_path, "data")


def test_without_a_manifest_only_the_kinds_that_were_asked_for_are_tried():
    found = assumed(Workload(rows=10, notes=120, voices=0.1)).samples
    assert found.midi
    assert found.voice
    assert not found.picture


def test_the_embedded_samples_are_real_files():
    found = embedded_samples(voices=True, pictures=True)
    assert all(data.startswith(b"MThd") for data in found.midi)
    assert all(data.startswith(b"RIFF") for data in found.voice)
    assert all(data.startswith(b"\xff\xd8") for data in found.picture)


def test_rows_are_never_compared_with_each_other(root, monkeypatch):
    """Each with each would take minutes for 100,000 rows."""
    monkeypatch.setattr(GenerationRequest, "__eq__", lambda *_: pytest.fail("two rows were compared"))
    rows = [{"seed": "a.mid", "emotion": "sad", "seconds": 30 + number} for number in range(50)]
    found = survey("\n".join(map(json.dumps, rows)).encode(), "m.jsonl", root, "data")
    assert found.work.music_seconds == sum(range(30, 80)) / 50
