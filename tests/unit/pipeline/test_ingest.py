import json
import stat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emoray.dataset import corpus
from emoray.errors import CorpusError
from emoray.notes import as_notes
from emoray.pipeline.ingest import SHARD_FILES, ingest, list_files, write_part
from emoray.writers.midi import midi_bytes


def write_tune(path, random_seed=0, count=30):
    generator = np.random.default_rng(random_seed)
    notes = as_notes(
        np.arange(count) * 0.25,
        generator.uniform(0.1, 0.3, count),
        generator.integers(50, 80, count),
        [80] * count,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(midi_bytes(notes))


@pytest.fixture
def collection(tmp_path):
    folder = tmp_path / "midi"
    for number in range(SHARD_FILES + 5):
        write_tune(folder / f"{2000 + number % 3}" / f"{number}.mid{'i' * (number % 2)}", number)
    (folder / "broken.mid").write_bytes(b"MThd\0\0\0\6")
    (folder / "text.MID").write_text("not music")
    (folder / "notes.txt").write_text("no MIDI at all")
    (folder / "metadata.csv").write_text(
        "canonical_composer,canonical_title,split,year,midi_filename\n"
        "Satie,Gymnopédie,test,1888,2000/0.mid\nSatie,Lost,train,1890,2000/lost.mid\n"
    )
    return folder


def test_every_file_and_every_row_of_the_metadata_is_a_row(collection, tmp_path):
    summary = ingest(collection, tmp_path / "corpus", metadata=collection / "metadata.csv")
    assert (summary.rows, summary.errors, summary.notes) == (SHARD_FILES + 5 + 3, 3, (SHARD_FILES + 5) * 30)
    assert sum(summary.reasons.values()) == 3
    table = pq.read_table(tmp_path / "corpus", schema=corpus.SCHEMA)
    rows = {row["path"]: row for row in table.to_pylist()}
    assert len(rows) == summary.rows
    assert (rows["2000/0.mid"]["title"], rows["2000/0.mid"]["split"]) == ("Gymnopédie", "test")
    assert "check that the file is there" in rows["2000/lost.mid"]["error"]
    assert "not a MIDI file" in rows["text.MID"]["error"]
    assert json.loads((tmp_path / "corpus" / corpus.SUCCESS).read_text())["rows"] == summary.rows


def test_the_same_files_make_the_same_bytes(collection, tmp_path):
    ingest(collection, tmp_path / "one")
    ingest(collection, tmp_path / "two")
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def bytes_of(corpus):
    """Every file of a corpus; there are two parts and the summary."""
    files = {path.name: path.read_bytes() for path in corpus.iterdir()}
    assert len(files) == 3
    return files


def test_one_is_told_how_many_files_there_are_before_any_is_read(collection, tmp_path):
    class TooMany(Exception):
        pass

    def refuse(files):
        raise TooMany(files)

    with pytest.raises(TooMany, match=str(SHARD_FILES + 7)):
        ingest(collection, tmp_path / "corpus", before=refuse)
    assert not (tmp_path / "corpus").exists()


def test_a_corpus_is_not_replaced_unless_asked_and_then_as_a_whole(collection, tmp_path):
    out = tmp_path / "corpus"
    ingest(collection, out)
    with pytest.raises(CorpusError, match="exists already; choose another folder or pass --overwrite"):
        ingest(collection, out)
    (collection / "broken.mid").unlink()
    assert ingest(collection, out, overwrite=True).errors == 1
    assert [path.name for path in tmp_path.iterdir() if "staging" in path.name] == []


def test_an_ingest_that_cannot_finish_leaves_nothing_behind(collection, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CorpusError, match="cannot be written"):
        ingest(collection, tmp_path / "file" / "corpus")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "midi"]


def test_a_part_that_cannot_be_written_is_told_and_not_raised(tmp_path):
    """Ray would wrap the error in pages of its own; the driver makes one line of it."""
    write_tune(tmp_path / "a.mid")
    shard = list_files(tmp_path, {}).append_column("part", pa.array([0], pa.int32()))
    [told] = write_part(shard, tmp_path, tmp_path / "gone").to_pylist()
    assert (told["summary"], told["problem"]) == (None, "No such file or directory")


@pytest.mark.parametrize("uri", ["s3://bucket/corpus", "file:///corpus"])
def test_an_object_store_is_refused_and_no_folder_gets_its_name(collection, tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CorpusError, match="is a URI; give a folder that every node sees"):
        ingest(collection, Path(uri))
    with pytest.raises(CorpusError, match="is a URI"):
        ingest(Path(uri), tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_without_midi_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"holds no \.mid or \.midi files"):
        list_files(tmp_path, {})
    with pytest.raises(CorpusError, match="is not a folder"):
        list_files(tmp_path / "none", {})
    assert stat.S_ISDIR(Path(tmp_path).stat().st_mode)
