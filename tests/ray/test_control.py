"""Control of a tiny network with real Ray: the report has what the tables and the pictures show."""

import json

import numpy as np
import pytest
import torch

from emoray.config import ExpressivePreset
from emoray.dataset.clusters import fit_clusters
from emoray.errors import CorpusError
from emoray.evaluate.control import Case
from emoray.model.checkpoint import load_checkpoint, new_network, save_checkpoint
from emoray.notes import as_notes
from emoray.pipeline.evaluation import cases_of, evaluate, evaluate_control
from emoray.pipeline.ingest import ingest
from emoray.writers import evaluation
from emoray.writers.midi import midi_bytes

pytestmark = pytest.mark.ray
CASES = [Case("none"), Case("logodds"), Case("cfg"), Case("cfg", 0.5), Case("cfg", 0.0)]


def tune(random_seed, count=160):
    generator = np.random.default_rng(random_seed)
    pitch = 50 + np.cumsum(generator.integers(-3, 4, count)) % 36
    return as_notes(
        np.cumsum(generator.uniform(0.05, 0.4, count)),
        [0.3] * count,
        pitch,
        generator.integers(40, 99, count),
    )


@pytest.fixture(scope="module")
def folder(ray_cluster, tmp_path_factory):
    root = tmp_path_factory.mktemp("control")
    (root / "midi").mkdir()
    lines = ["canonical_composer,canonical_title,split,year,midi_filename"]
    for number in range(14):
        (root / "midi" / f"{number}.mid").write_bytes(midi_bytes(tune(number)))
        split = "train" if number < 4 else "validation" if number < 6 else "test"
        lines.append(f"Nobody,Tune {number},{split},2000,{number}.mid")
    (root / "m.csv").write_text("\n".join(lines) + "\n")
    ingest(root / "midi", root / "corpus", metadata=root / "m.csv")
    return root / "corpus"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    preset = ExpressivePreset(embedding=16, hidden=16, head=16, lookahead=16)
    features = np.random.default_rng(0).lognormal(0, 0.4, (100, 9)).astype(np.float32)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny"
    clusters = fit_clusters(features, window=26, durations="sounding")
    save_checkpoint(path, network=new_network(preset), preset=preset, clusters=clusters, metrics={}, card="")
    return path


@pytest.fixture(scope="module")
def report(folder, checkpoint):
    return evaluate(checkpoint, folder, compare_with=[checkpoint]) | {
        "control": evaluate_control(checkpoint, folder, seeds=7, composed=40, cases=CASES)
    }


def test_every_case_is_judged_from_all_seeds_and_four_quadrants_of_the_default(report):
    control = report["control"]
    assert list(control["cases"]) == ["logodds 1", "cfg 1", "cfg 0.5", "cfg 0"]
    assert (control["seeds"], control["composed_notes"], control["default_case"]) == (7, 40, "cfg 1")
    assert [("quadrant_accuracy" in case) for case in control["cases"].values()] == [
        False,
        True,
        False,
        False,
    ]


def test_a_strength_of_zero_differs_by_nothing_and_costs_nothing(report):
    nothing = report["control"]["cases"]["cfg 0"]
    assert nothing["valence"]["difference"] == nothing["arousal"]["difference"] == 0
    assert nothing["nll_increase"] == {"happy": 0, "sad": 0, "max": 0}
    assert nothing["kl_divergence"] == pytest.approx(report["control"]["unguided"]["kl_divergence"])


def test_guidance_moves_what_is_drawn_from_and_says_how_far(report):
    cases = report["control"]["cases"]
    assert (
        cases["cfg 1"]["kl_divergence"] > cases["cfg 0.5"]["kl_divergence"] > cases["cfg 0"]["kl_divergence"]
    )
    assert cases["logodds 1"]["kl_divergence"] > cases["cfg 0"]["kl_divergence"]


def test_the_report_is_json_and_fills_tables_and_pictures(report):
    again = json.loads(json.dumps(report))
    control = again["control"]
    for table in (
        evaluation.likelihood_table(again),
        evaluation.control_table(control),
        evaluation.cost_table(control),
    ):
        assert len(evaluation.as_text(*table).splitlines()) > 3
    assert set(again["control"]["memorisation"]) == {"composed", "unguided", "real"}
    pictures = evaluation.evaluation_pictures(again)
    text = evaluation.report_page(again)
    assert all(f"]({name}.png)" in text for name in pictures)
    assert "| cfg 0.5 |" in text
    assert "Longest sequence of notes shared" in text
    assert set(pictures) == {"likelihood", "control", "statistics"}
    assert all(data.startswith(b"\x89PNG") for data in pictures.values())


def test_compared_checkpoints_are_measured_on_the_same_notes(report):
    assert report["compared_with"]["tiny"] == report["likelihood"]


def test_the_same_checkpoint_gives_the_same_report(report, folder, checkpoint):
    again = evaluate_control(checkpoint, folder, seeds=7, composed=40, cases=CASES)
    assert json.dumps(again) == json.dumps(report["control"])


def test_a_corpus_without_long_pieces_is_refused(folder, checkpoint):
    with pytest.raises(
        CorpusError, match="has only 0 stretches of 1064 test notes to compose from, 6 are needed"
    ):
        evaluate_control(checkpoint, folder, composed=1000)


def test_all_modes_of_a_checkpoint_are_cases(checkpoint):
    expressive = [case.name for case in cases_of(load_checkpoint(checkpoint))]
    assert {"none", "original 1", "attributes 1", "cfg 1", "cfg 0.5"} <= set(expressive)
