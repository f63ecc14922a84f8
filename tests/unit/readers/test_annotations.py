import json
from pathlib import Path

import pytest

from emoray.errors import CorpusError
from emoray.readers.annotations import Label, PieceMetadata, halves, read_labels, read_metadata

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


def test_the_sign_of_a_label_counts_and_paths_start_at_the_csv(tmp_path):
    (tmp_path / "l.csv").write_text("id,midi,valence,arousal\n1,a.mid,1,-1\n2,b.mid,-0.2,3\n")
    assert read_labels(tmp_path / "l.csv") == [
        Label(path=tmp_path / "a.mid", valence=1, arousal=-1, series="a.mid"),
        Label(path=tmp_path / "b.mid", valence=-1, arousal=1, series="b.mid"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("midi,valence\na.mid,1\n", "has no column 'arousal'"),
        ("midi,valence,arousal\na.mid,0,1\n", "has no sign"),
        ("midi,valence,arousal\na.mid,nan,1\n", "has no sign"),
        ("midi,valence,arousal\n", "labels nothing"),
    ],
)
def test_labels_that_say_nothing_are_refused(tmp_path, text, message):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_labels(tmp_path / "l.csv")


def test_no_series_is_in_both_halves_and_no_label_is_lost():
    sizes = {"a": 30, "b": 20, "c": 16, "d": 10, "e": 4}
    labels = [
        Label(path=Path(f"{series}{number}.mid"), valence=1, arousal=1, series=series)
        for series, size in sizes.items() for number in range(size)
    ]  # fmt: skip
    guidance, judges = halves(labels)
    assert {label.series for label in guidance} == {"a", "d"}
    assert {label.series for label in judges} == {"b", "c", "e"}
    assert len(guidance) + len(judges) == 80
