import json

import pytest

from emoray.errors import CorpusError
from emoray.readers.annotations import PieceMetadata, read_metadata

COLUMNS = "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration"
ROW = {"canonical_composer": "Satie", "canonical_title": "Gymnopédie", "split": "test", "year": 2004,
       "midi_filename": "2004/a.midi", "audio_filename": "2004/a.wav", "duration": 1.5}  # fmt: skip
EXPECTED = {"2004/a.midi": PieceMetadata(composer="Satie", title="Gymnopédie", split="test", year=2004)}


def test_maestros_csv_and_both_forms_of_its_json_say_the_same(tmp_path):
    (tmp_path / "m.csv").write_text(
        COLUMNS + "\n" + ",".join(map(str, ROW.values())) + "\n", encoding="utf-8"
    )
    (tmp_path / "v2.json").write_text(json.dumps([ROW]))
    (tmp_path / "v3.json").write_text(json.dumps({name: {"0": value} for name, value in ROW.items()}))
    for name in ("m.csv", "v2.json", "v3.json"):
        assert read_metadata(tmp_path / name) == EXPECTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has no 'midi_filename'"),
        ("midi_filename,split\na.mid,dev\n", "unknown split 'dev'"),
        ("midi_filename,year\na.mid,then\n", "cannot be read"),
    ],
)
def test_a_csv_that_is_something_else_is_refused(tmp_path, text, message):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_metadata(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"none\.csv: cannot be read"):
        read_metadata(tmp_path / "none.csv")
