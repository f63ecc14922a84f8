"""The real engines on a real Ray, with a network of random weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from emoray.batch.audit import results, verify
from emoray.batch.folder import BatchSettings
from emoray.config import BaselinePreset
from emoray.dataset.clusters import fit_clusters
from emoray.errors import CheckpointError, ConfigError
from emoray.model.baseline import BaselineNetwork
from emoray.model.checkpoint import save_checkpoint
from emoray.notes import as_notes
from emoray.pipeline.batch_driver import run_batch
from emoray.pipeline.engines import plan_engine
from emoray.readers.midi import read_midi
from emoray.writers.midi import midi_bytes

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture(scope="module", autouse=True)
def serve_ends(ray_cluster: None) -> Iterator[None]:
    """A batch leaves Serve to the end of its own Ray; this one has other tests."""
    yield
    from ray import serve

    serve.shutdown()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    preset = BaselinePreset(window=5, hidden=8)
    features = np.random.default_rng(0).lognormal(0, 1, (50, 9)).astype(np.float32)
    save_checkpoint(
        folder,
        network=BaselineNetwork(preset.hidden),
        preset=preset,
        clusters=fit_clusters(features, window=6, durations="key-down"),
        metrics={},
        card="",
    )
    return folder


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    scale = as_notes(np.arange(6) / 2, np.full(6, 0.5), 60 + np.arange(6), np.full(6, 80))
    (folder / "scale.mid").write_bytes(midi_bytes(scale))
    (folder / "text.mid").write_bytes(b"MThd and no more")
    (folder / "text.png").write_bytes(b"not a picture")
    rows = [
        {"id": "happy", "seed": "scale.mid", "emotion": "happy", "notes": 12},
        {"id": "sad", "seed": "scale.mid", "emotion": "sad", "notes": 7, "guidance": "none"},
        {"id": "fallback", "seed": "scale.mid", "image": "text.png", "emotion": 0.5, "seconds": 2},
        {"id": "blind", "seed": "scale.mid", "image": "text.png"},
        {"id": "deaf", "seed": "text.mid", "emotion": "sad"},
    ]
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_both_engines_make_the_same_music(checkpoint, manifest, tmp_path):
    told = {}
    for engine, workers in (("data", 1), ("serve", 2)):
        out = tmp_path / engine
        settings = BatchSettings(
            checkpoint=checkpoint, engine=engine, workers=workers, shard_rows=2, faces="fer-mini"
        )
        summary = run_batch(manifest, out, settings)
        assert (summary.rows, summary.ok, summary.failed) == (5, 3, 2)
        assert verify(out).sound
        varying = {"milliseconds", "attempts"}
        told[engine] = [
            {name: value for name, value in row.items() if name not in varying} for row in results(out)
        ]
    assert told["serve"] == told["data"]
    happy, sad, fallback, blind, deaf = told["data"]
    assert [(row["label"], row["seed_notes"]) for row in (happy, sad, fallback)] == [(1, 6), (-1, 6), (1, 6)]
    assert (happy["notes"], sad["notes"]) == (12, 7)
    assert len(read_midi((tmp_path / "data" / happy["midi"]).read_bytes())) == 18
    assert (fallback["image_status"], fallback["backend"][:8]) == ("decode_error", "fer-mini")
    assert (blind["status"], blind["image_status"]) == ("failed", "decode_error")
    assert blind["error"].startswith("text.png: ")
    assert deaf["error"].startswith("text.mid: ")


def test_what_cannot_be_loaded_is_said_before_anything_starts(checkpoint, manifest, tmp_path):
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        run_batch(manifest, tmp_path / "out", BatchSettings(checkpoint=tmp_path))
    with pytest.raises(ConfigError, match="face policy"):
        run_batch(manifest, tmp_path / "out", BatchSettings(checkpoint=checkpoint, policy="random"))
    assert not (tmp_path / "out").exists()


def test_auto_is_one_face_model_for_the_whole_batch(checkpoint):
    plan = plan_engine(BatchSettings(checkpoint=checkpoint, faces="auto", engine="data"), rows=9)
    assert plan.faces.split(":")[0] in ("deepface", "fer-mini")
    assert (plan.workers, plan.worker_cpus, plan.service_cpus) == (4, 1.0, 0.0)
