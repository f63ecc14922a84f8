import pytest
from tunes import tune

from emoray.pipeline import corpus_tasks as parts
from emoray.pipeline.ingest import SHARD_FILES, ingest
from emoray.writers.midi import midi_bytes

pytestmark = pytest.mark.ray


def bytes_of(corpus):
    """Every file of a corpus; there are two parts and the summary."""
    files = {path.name: path.read_bytes() for path in corpus.iterdir()}
    assert len(files) == 3
    return files


def test_ray_makes_the_bytes_that_this_process_makes(ray_cluster, tmp_path, monkeypatch):
    midi = tmp_path / "midi"
    midi.mkdir()
    for number in range(SHARD_FILES + 5):
        (midi / f"{number}.mid").write_bytes(midi_bytes(tune(number, 30)))
    (midi / "broken.mid").write_bytes(b"MThd\0\0\0\6")
    (midi / "text.MID").write_text("not music")
    (midi / "list.csv").write_text(
        "canonical_composer,canonical_title,split,year,midi_filename\n"
        "Satie,Gymnopédie,test,1888,0.mid\nSatie,Lost,train,1890,lost.mid\n"
    )
    ingest(midi, tmp_path / "by ray", metadata=midi / "list.csv")
    monkeypatch.setattr(parts, "under_ray", lambda: False)
    ingest(midi, tmp_path / "here", metadata=midi / "list.csv")
    assert bytes_of(tmp_path / "by ray") == bytes_of(tmp_path / "here")
