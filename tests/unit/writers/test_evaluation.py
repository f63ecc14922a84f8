from emoray.writers import evaluation


def likelihood():
    rule = {
        "pitch_nll": 4.0,
        "step_nll": 3.0,
        "duration_nll": 3.5,
        "total_nll": 10.5,
        "duration_with_pedal_nll": 4.4,
    }
    return {
        "preset": "expressive",
        "likelihood": {
            "pitch_nll": 2.5,
            "total_nll": 7.0,
            "reference_models": dict.fromkeys(evaluation.REFERENCE_MODELS, rule),
        },
        "compared_with": {"baseline": {"pitch_nll": 3.6}},
    }


def control():
    judge = {
        "difference": 0.4,
        "effect_size": 1.5,
        "confidence_interval": [0.3, 0.5],
        "paired_accuracy": 0.9,
        "centred_accuracy": 0.8,
    }
    spread = {"pitch_class_entropy": 2.9, "distinct_pitches": 24.0}
    case = dict.fromkeys(("valence", "arousal", "valence_from_pitches"), judge) | {"variety": spread}
    statistics = {
        "note_rate": {
            "composed_median": 9.0,
            "real_median": 10.0,
            "overlap": 0.8,
            "reference_overlap": 0.9,
        },
        "short_notes": {"composed": 0.001, "real": 0.002},
        "mean": {"overlap": 0.8, "reference_overlap": 0.9, "overlap_ratio": 0.89},
    }
    full = case | {
        "quadrant_accuracy": 0.6,
        "nll_increase": {"max": 0.1},
        "kl_divergence": 0.3,
        "overlap_ratio": 0.85,
        "statistics": statistics,
    }
    unguided = {"variety": spread, "statistics": statistics, "kl_divergence": 0.0}
    return {
        "cases": {"cfg 1": full},
        "positive_control": case,
        "real": {"variety": spread},
        "unguided": unguided,
    }


def test_every_row_of_a_likelihood_table_is_as_wide_as_its_heads():
    heads, rows = evaluation.likelihood_table(likelihood())
    assert {len(row) for row in rows} == {len(heads)}
    assert [row[0] for row in rows][:3] == ["expressive preset", "baseline preset", "unigram_recent"]
    assert rows[0][1] == "2.500"


def test_every_row_of_the_tables_of_control_and_cost_is_as_wide_as_its_heads():
    heads, rows = evaluation.control_table(control())
    assert {len(row) for row in rows} == {len(heads)}
    found = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    assert found["cfg 1"]["valence difference"] == "0.40 (0.30 to 0.50)"
    assert found["cfg 1"]["valence effect"] == "1.50"
    assert (found["cfg 1"]["quadrants"], found["positive control"]["quadrants"]) == ("0.60", "")
    heads, rows = evaluation.cost_table(control())
    assert {len(row) for row in rows} == {len(heads)}
    found = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    assert found["cfg 1"]["NLL increase"] == "0.10"
    assert found["none"]["overlap ratio"] == "0.89"
    assert found["real music"]["distinct pitches"] == "24.0"
    assert found["real music"]["NLL increase"] == ""


def test_a_statistics_table_ends_with_the_mean():
    heads, rows = evaluation.statistics_table(control(), "cfg 1")
    assert {len(row) for row in rows} == {len(heads)}
    assert rows[-1][0] == "mean"
    assert ["short notes", "0.0010", "0.0020", "", ""] in rows
