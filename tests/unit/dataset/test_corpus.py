import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emoray.dataset import corpus
from emoray.errors import CorpusError
from emoray.notes import as_notes
from emoray.writers.midi import midi_bytes

NOTES = as_notes([0.0, 0.5], [0.4, 0.4], [60, 64], [80, 81])
FILE = {"path": "a.mid", "split": None, "composer": "Satie", "title": None, "year": 1888}


def files(*paths):
    return pa.Table.from_pylist([FILE | {"path": path} for path in paths], corpus.FILES)


def test_files_in_are_rows_out_whatever_is_wrong_with_them(tmp_path):
    (tmp_path / "good.mid").write_bytes(midi_bytes(NOTES))
    (tmp_path / "text.mid").write_text("not music")
    (tmp_path / "empty.mid").write_bytes(b"")
    table = corpus.rows(files("good.mid", "text.mid", "empty.mid", "missing.mid"), tmp_path)
    assert table.schema.equals(corpus.SCHEMA)
    assert table["path"].to_pylist() == ["good.mid", "text.mid", "empty.mid", "missing.mid"]
    good, *bad = table["error"].to_pylist()
    assert good is None
    assert ["not a MIDI file" in bad[0], "is empty" in bad[1], "No such file" in bad[2]] == [True] * 3
    summary = corpus.summarise(table)
    assert (summary.rows, summary.errors, summary.notes) == (4, 3, 2)
    assert set(summary.reasons) == {"is not a MIDI file", "is empty", "No such file or directory"}


def test_a_shard_of_rejects_reads_like_any_other(tmp_path):
    for number, shard in enumerate((files("missing.mid"), files("gone.mid"))):
        pq.write_table(corpus.rows(shard, tmp_path), tmp_path / f"part-{number}.parquet")
    (tmp_path / "good.mid").write_bytes(midi_bytes(NOTES))
    pq.write_table(corpus.rows(files("good.mid"), tmp_path), tmp_path / "part-2.parquet")
    (tmp_path / "good.mid").unlink()
    assert pq.read_table(tmp_path)["error"].null_count == 1


def test_a_piece_comes_back_as_it_went_in(tmp_path):
    (tmp_path / "a.mid").write_bytes(midi_bytes(NOTES))
    [(record, notes)] = corpus.pieces_of(corpus.rows(files("a.mid"), tmp_path))
    np.testing.assert_allclose(notes["onset"], NOTES["onset"], atol=1e-3)
    assert notes["pitch"].tolist() == [60, 64]
    assert (record["composer"], record["year"]) == ("Satie", 1888)
    assert record["split"] == corpus.split_of(record["piece_id"])


def test_a_collections_own_split_wins_and_a_hashed_one_never_moves(tmp_path):
    (tmp_path / "a.mid").write_bytes(midi_bytes(NOTES))
    assert corpus.row(tmp_path, FILE | {"split": "test"})["split"] == "test"
    first, again = (corpus.row(tmp_path, FILE)["split"] for _ in range(2))
    assert first == again in ("train", "validation", "test")
    counts = [corpus.split_of(f"{number:016x}") for number in range(1000)]
    assert (counts.count("train"), counts.count("validation"), counts.count("test")) == (800, 100, 100)


def test_summaries_add_up_with_the_most_frequent_reason_first():
    one = corpus.CorpusSummary(rows=2, errors=1, notes=5, splits={"train": 1}, reasons={"rare": 1})
    two = corpus.CorpusSummary(rows=4, errors=3, notes=7, splits={"test": 1}, reasons={"often": 2, "rare": 1})
    total = corpus.added(iter([one, two, two]))
    assert (total.rows, total.errors, total.notes) == (10, 7, 19)
    assert total.splits == {"test": 2, "train": 1}
    assert list(total.reasons.items()) == [("often", 4), ("rare", 3)]


def test_a_folder_without_its_success_file_or_of_another_version_is_no_corpus(tmp_path):
    with pytest.raises(CorpusError, match=r"is not a finished corpus .* run `emoray ingest`"):
        corpus.open_corpus(tmp_path)
    Path(tmp_path / corpus.SUCCESS).write_text(json.dumps({"version": 99}))
    with pytest.raises(CorpusError, match="has version 99, not 2; ingest it again"):
        corpus.open_corpus(tmp_path)


def test_lengths_of_pieces_are_those_of_their_notes(tmp_path):
    (tmp_path / "a.mid").write_bytes(midi_bytes(NOTES))
    table = corpus.rows(files("a.mid", "missing.mid"), tmp_path)
    pq.write_table(table, tmp_path / "part-0.parquet")
    split = table["split"][0].as_py()
    assert corpus.piece_lengths(tmp_path, split).tolist() == [2]
    other = "train" if split != "train" else "test"
    assert corpus.piece_lengths(tmp_path, other).tolist() == []
