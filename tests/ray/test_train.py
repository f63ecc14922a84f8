"""Training promises, on a small corpus and a small network, with real Ray."""

import json
from pathlib import Path

import numpy as np
import pytest

from emoray.config import BaselinePreset
from emoray.errors import CheckpointError, ClusterError, CorpusError
from emoray.model.checkpoint import load_checkpoint
from emoray.notes import as_notes
from emoray.pipeline.clustering import cluster_corpus, labelled_pieces
from emoray.pipeline.evaluation import evaluate
from emoray.pipeline.ingest import ingest
from emoray.pipeline.run_folder import RunFolder
from emoray.pipeline.training import TrainSettings, check_cluster, check_windows, train
from emoray.readers.annotations import Label
from emoray.writers.midi import midi_bytes

pytestmark = pytest.mark.ray
PRESET = BaselinePreset(hidden=16, epochs=4, epoch_windows=2_000, batch_size=32, patience=9)


def tune(random_seed, step):
    generator = np.random.default_rng(random_seed)
    count = 150
    pitch = 60 + np.cumsum(generator.integers(-2, 3, count)) % 24
    return as_notes(np.arange(count) * step, [step] * count, pitch, [80] * count)


@pytest.fixture(scope="module")
def folder(ray_cluster, tmp_path_factory):
    """A corpus of fast and slow tunes with all three splits."""
    root = tmp_path_factory.mktemp("train")
    lines = ["canonical_composer,canonical_title,split,year,midi_filename"]
    (root / "midi").mkdir()
    for number in range(24):
        split = {0: "validation", 1: "test"}.get(number % 8, "train")
        (root / "midi" / f"{number}.mid").write_bytes(midi_bytes(tune(number, 0.1 if number % 2 else 0.4)))
        lines.append(f"Nobody,Tune {number},{split},2000,{number}.mid")
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    ingest(root / "midi", root / "corpus", metadata=root / "metadata.csv")
    return root / "corpus"


@pytest.fixture(scope="module")
def clusters(folder):
    return cluster_corpus(folder, durations="key-down")[0]


def run_of(path, clusters, *, resume=False):
    return RunFolder.at(path, {"preset": "baseline"}, clusters, resume=resume)


@pytest.fixture(scope="module")
def whole(folder, clusters, tmp_path_factory):
    """A run of four epochs by two workers; one worker is in tests/faults/test_interrupts.py."""
    run = run_of(tmp_path_factory.mktemp("runs") / "whole", clusters)
    standing = train(folder, run, PRESET, TrainSettings(workers=2, cpus_per_worker=1))
    return run, standing


def test_a_run_folder_is_a_checkpoint_with_its_figures_and_pictures(whole):
    run, standing = whole
    assert (standing.epoch, len(standing.history)) == (4, 4)
    assert standing.history[0]["windows"] == 1984, "62 updates of 2 x 16"
    assert standing.history[-1]["validation_loss"] < standing.history[0]["validation_loss"]
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert (run.path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert list((run.path / "tensorboard").iterdir())
    assert load_checkpoint(run.path).metrics["best_epoch"] == standing.best_epoch
    assert run.complete


def test_a_run_is_not_overwritten_and_not_resumed_with_other_settings(whole, clusters):
    run, _ = whole
    with pytest.raises(CheckpointError, match="exists already; go on with --resume"):
        run_of(run.path, clusters)
    with pytest.raises(CheckpointError, match="was started with other preset"):
        RunFolder.at(run.path, {"preset": "other"}, clusters, resume=True)
    assert run_of(run.path, clusters, resume=True).standing(PRESET).finished(PRESET)


def test_a_cluster_too_small_is_refused_with_the_flag_to_lower(ray_cluster):
    with pytest.raises(
        ClusterError, match="8 workers of 1 CPUs do not fit into nodes of 4 CPUs; lower --workers"
    ):
        check_cluster(TrainSettings(workers=8))
    assert check_cluster(TrainSettings(workers=2)) == 2


def test_a_corpus_too_small_is_refused_before_any_worker_starts(ray_cluster, tmp_path):
    (tmp_path / "midi").mkdir()
    (tmp_path / "midi" / "a.mid").write_bytes(midi_bytes(tune(1, 0.2)))
    ingest(tmp_path / "midi", tmp_path / "corpus")
    with pytest.raises(CorpusError, match=r"\d+ \w+ windows of 25 notes( for a worker)?, \d+ are needed"):
        check_windows(tmp_path / "corpus", PRESET, TrainSettings(workers=8))


def test_a_corpus_whose_shares_are_too_uneven_is_refused_as_well(ray_cluster, tmp_path):
    lines = ["canonical_composer,canonical_title,split,year,midi_filename"]
    (tmp_path / "midi").mkdir()
    for name, count, split in [("a", 150, "train"), ("b", 30, "train"), ("c", 150, "validation")]:
        (tmp_path / "midi" / f"{name}.mid").write_bytes(midi_bytes(tune(1, 0.2)[:count]))
        lines.append(f"Nobody,Tune,{split},2000,{name}.mid")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    ingest(tmp_path / "midi", tmp_path / "corpus", metadata=tmp_path / "list.csv")
    check_windows(tmp_path / "corpus", PRESET, TrainSettings(workers=1))
    with pytest.raises(CorpusError, match="has 5 train windows of 25 notes for a worker, 16 are needed"):
        check_windows(tmp_path / "corpus", PRESET, TrainSettings(workers=2))


def test_evaluation_counts_every_note_that_has_a_window_before_it(folder, whole):
    report = evaluate(whole[0].path, folder, split="test")
    assert (report["pieces"], report["likelihood"]["notes"]) == (3, 3 * (150 - 25))
    references = report["likelihood"]["reference_models"]
    assert references["uniform"]["pitch_nll"] == pytest.approx(np.log(128))
    assert references["unigram"]["pitch_nll"] < np.log(128)
    with pytest.raises(CorpusError, match="has no split 'dev'"):
        evaluate(whole[0].path, folder, split="dev")


def test_clusters_of_a_corpus_tell_slow_from_fast_by_labels_of_people(folder, tmp_path):
    labels = []
    for number in range(4):
        path = Path(tmp_path / f"{number}.mid")
        path.write_bytes(midi_bytes(tune(number, 0.1 if number % 2 else 0.4)))
        sign = 1 if number % 2 else -1
        labels.append(Label(path=path, valence=sign, arousal=sign))
    clusters, features = cluster_corpus(folder, labels, durations="key-down")
    assert sum(clusters.sizes) == len(features) == 18 * 5  # 150 notes are five windows of 26
    assert clusters.evidence["balanced_accuracy"]["happy_against_sad"] == 1.0
    assert (
        clusters.musical_centroids()[clusters.happy][0] < clusters.musical_centroids()[1 - clusters.happy][0]
    )
    labels[0].path.write_text("no music")
    with pytest.raises(CorpusError, match="is labelled but cannot be read"):
        labelled_pieces(labels, 26, "key-down")
