from emoray.evaluate import tables


def likelihood():
    rule = {"pitch_nll": 4.0, "step_nll": 3.0, "duration_nll": 3.5, "total_nll": 10.5, "sounding_nll": 4.4}
    return {
        "preset": "expressive",
        "likelihood": {"pitch_nll": 2.5, "total_nll": 7.0}
        | dict.fromkeys(("unigram_recent", "bigram", "repeat_last", "unigram", "uniform"), rule),
        "beside": {"baseline": {"pitch_nll": 3.6}},
    }


def control():
    judge = {"difference": 0.4, "interval": [0.3, 0.5], "paired_accuracy": 0.9, "centred_accuracy": 0.8}
    spread = {"pitch_class_entropy": 2.9, "distinct_pitches": 24.0}
    case = dict.fromkeys(("valence", "arousal", "valence_from_pitches"), judge) | {"variety": spread}
    statistics = {"density": {"median": 9.0, "real": 10.0, "overlap": 0.8, "ceiling": 0.9},
                  "short_notes": {"found": 0.001, "real": 0.002},
                  "all": {"overlap": 0.8, "ceiling": 0.9, "share": 0.89}}  # fmt: skip
    full = case | {"quadrants": 0.6, "extra_nats": {"worse": 0.1}, "divergence": 0.3, "overlap_share": 0.85,
                   "statistics": statistics}  # fmt: skip
    unguided = {"variety": spread, "statistics": statistics, "divergence": 0.0}
    return {"cases": {"cfg 1": full}, "rule": case, "real": {"variety": spread}, "unguided": unguided}


def test_every_row_of_a_likelihood_table_is_as_wide_as_its_heads():
    heads, rows = tables.likelihood_rows(likelihood())
    assert {len(row) for row in rows} == {len(heads)}
    assert [row[0] for row in rows][:3] == ["expressive preset", "baseline preset", "unigram_recent"]
    assert rows[0][1] == "2.500"


def test_every_row_of_a_control_table_is_as_wide_as_its_heads():
    heads, rows = tables.control_rows(control())
    assert {len(row) for row in rows} == {len(heads)}
    found = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    assert found["cfg 1"]["extra nats"] == "0.10"
    assert found["cfg 1"]["quadrants"] == "0.60"
    assert found["rule on real music"]["extra nats"] == ""
    assert found["none"]["overlap"] == "0.89"
    assert found["real music"]["distinct"] == "24.0"


def test_a_statistics_table_ends_with_the_mean():
    heads, rows = tables.statistics_rows(control(), "cfg 1")
    assert {len(row) for row in rows} == {len(heads)}
    assert rows[-1][0] == "mean overlap"
    assert ["short notes", "0.0010", "0.002", "", ""] in rows
