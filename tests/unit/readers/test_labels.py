from pathlib import Path

import pytest

from emoray.errors import CorpusError
from emoray.readers.annotations import Label, halves, read_labels


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
