"""Training promises of the expressive preset, on a small corpus and a tiny network, with real Ray."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from emoray.config import ExpressivePreset
from emoray.dataset.corpus import piece_lengths
from emoray.errors import CorpusError
from emoray.model.checkpoint import load_checkpoint
from emoray.notes import as_notes
from emoray.pipeline.cluster import cluster_corpus
from emoray.pipeline.ingest import ingest
from emoray.pipeline.run_folder import RunFolder
from emoray.pipeline.train import TrainSettings, check_notes, train
from emoray.writers.midi import midi_bytes

pytestmark = pytest.mark.ray
PRESET = ExpressivePreset(
    embedding=16, hidden=16, head=16, chunk=8, span=32, lookahead=8, batch_size=4, epoch_spans=32, epochs=4,
)  # fmt: skip


def tune(random_seed, count):
    generator = np.random.default_rng(random_seed)
    pitch = 60 + np.cumsum(generator.integers(-2, 3, count)) % 24
    return as_notes(np.arange(count) * 0.2, [0.2] * count, pitch, [80] * count)


@pytest.fixture(scope="module")
def folder(ray_cluster, tmp_path_factory):
    """A corpus of tunes of 30 to 60 notes; the second of them is of a single note."""
    root = tmp_path_factory.mktemp("expressive")
    lines = ["canonical_composer,canonical_title,split,year,midi_filename"]
    (root / "midi").mkdir()
    for number in range(12):
        split = {0: "validation", 6: "validation"}.get(number, "train")
        notes = tune(number, 1 if number == 1 else 30 + 3 * number)
        (root / "midi" / f"{number:02}.mid").write_bytes(midi_bytes(notes))
        lines.append(f"Nobody,Tune {number},{split},2000,{number:02}.mid")
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    ingest(root / "midi", root / "corpus", metadata=root / "metadata.csv")
    return root / "corpus"


@pytest.fixture(scope="module")
def clusters(folder):
    return cluster_corpus(folder)[0]


def run_of(path, clusters, *, resume=False):
    return RunFolder.at(path, {"preset": "expressive", "music": "maestro"}, clusters, resume=resume)


@pytest.fixture(scope="module")
def whole(folder, clusters, tmp_path_factory):
    """A run of four epochs, never interrupted, by two workers; one worker is in the tests below."""
    run = run_of(tmp_path_factory.mktemp("runs") / "whole", clusters)
    settings = TrainSettings(workers=2, cpus_per_worker=1)
    return run, train(folder, run, PRESET, settings), settings


@pytest.fixture(scope="module")
def stalled(whole, folder, clusters, tmp_path_factory):
    """One worker goes on from those weights with a learning rate that changes next to nothing."""
    preset = replace(PRESET, learning_rate=1e-30, weight_decay=0.0, patience=1)
    settings = TrainSettings(cpus_per_worker=1, start=whole[0].path)
    return train(folder, run_of(tmp_path_factory.mktemp("runs") / "stalled", clusters), preset, settings)


def test_a_run_folder_is_an_expressive_checkpoint_with_nats_of_each_part(whole):
    run, standing, _ = whole
    first, last = standing.history[0], standing.history[-1]
    parts = [last[f"validation_{part}_nats"] for part in ("step", "pitch", "duration", "velocity")]
    assert sum(parts) == pytest.approx(last["validation_loss"])
    assert last["validation_loss"] < first["validation_loss"]
    assert 0 < last["validation_told_loss"] != last["validation_loss"]
    assert last["learning_rate"] < first["learning_rate"]
    assert (run.path / "loss.png").read_bytes().startswith(b"\x89PNG")
    loaded = load_checkpoint(run.path)
    assert (loaded.preset_name, loaded.preset) == ("expressive", PRESET)
    card = (run.path / "README.md").read_text()
    assert "validation_told_loss" in card
    assert "CC BY-NC-SA 4.0" in card


def test_training_stops_when_validation_no_longer_gets_better(stalled):
    assert (stalled.epoch, stalled.best_epoch) == (2, 1)


def test_a_time_limit_shortens_the_plan_and_the_decay_ends_with_it(folder, clusters, tmp_path):
    """Far more epochs are asked for than fit: the last one's learning rate is that of an end all the same."""
    preset = replace(PRESET, epochs=1_000_000)
    settings = TrainSettings(cpus_per_worker=1, max_minutes=0.1, half=True)
    run = run_of(tmp_path / "run", clusters)
    standing = train(folder, run, preset, settings)
    assert 2 <= standing.planned < 1_000_000
    assert standing.epoch <= standing.planned
    assert standing.history[-1]["learning_rate"] < preset.learning_rate / 2
    assert load_file(run.path / "weights.safetensors")["step.weight"].dtype == torch.float16


def test_training_starts_from_the_weights_of_a_checkpoint(stalled, whole):
    """The first epoch is as good as where it started."""
    assert stalled.history[0]["validation_loss"] == pytest.approx(whole[1].best_loss, rel=1e-3)


def test_a_corpus_is_refused_only_without_two_notes_for_each_worker(folder):
    assert sorted(piece_lengths(folder, "train"))[:2] == [1, 36]
    check_notes(folder, TrainSettings(workers=9))
    with pytest.raises(CorpusError, match=r"has 9 train pieces .* 10 are needed; .*lower"):
        check_notes(folder, TrainSettings(workers=10))
