"""A node of a cluster that is lost, and the head; each on a cluster of its own, in a process of its own.

What may be lost: nothing but what was under way on the node. With its head a cluster is gone; the command
ends and another cluster goes on.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_nodes
from batches import SETTINGS, good, music, plan, told, write_manifest
from safetensors.torch import load_file
from tunes import PRESET, corpus_of_tunes, run_of, tune

from emoray.batch.audit import status, verify
from emoray.dataset import corpus
from emoray.pipeline.batch_driver import run_batch
from emoray.pipeline.ingest import ingest
from emoray.pipeline.training import TrainSettings, train
from emoray.writers.midi import midi_bytes

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


MISSED_SOON = {"RAY_health_check_period_ms": "1000"}
"""A lost node is missed after five seconds, not fifteen; so may a busy one be, and other tests do without."""


def on_two_nodes(folder: Path, *tasks: str) -> str:
    """Run the script; what it says."""
    done = subprocess.run(
        [sys.executable, two_nodes.__file__, folder, *tasks],
        env=os.environ | MISSED_SOON,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_node_lost_under_ingest_and_one_under_a_batch_change_no_byte(tmp_path, monkeypatch):
    """Lost: nothing."""
    (tmp_path / "midi").mkdir()
    for number in range(64):
        (tmp_path / "midi" / f"{number:02}.mid").write_bytes(midi_bytes(tune(number)))
    manifest = write_manifest(tmp_path, [good(number) for number in range(40)])
    assert on_two_nodes(tmp_path, "ingest", "batch").count("lost at work") == 2

    monkeypatch.setattr("emoray.pipeline.ingest.SHARD_FILES", 4)
    ingest(tmp_path / "midi", tmp_path / "undisturbed")
    parts = {part.name: part.read_bytes() for part in corpus.parts(tmp_path / "undisturbed")}
    assert {part.name: part.read_bytes() for part in corpus.parts(tmp_path / "ingested")} == parts
    assert len(parts) == 16
    assert not list(tmp_path.glob("*.staging-*"))

    run_batch(manifest, tmp_path / "expected", SETTINGS, engine=plan(tmp_path / "log"))
    assert music(tmp_path / "out") == music(tmp_path / "expected")
    assert told(tmp_path / "out") == told(tmp_path / "expected")
    assert verify(tmp_path / "out").sound


@pytest.mark.full
def test_a_node_lost_in_training_changes_neither_loss_nor_weights(tmp_path):
    """Lost: nothing but the epoch under way, which is trained again."""
    corpus_of_tunes(tmp_path)
    assert "lost at work" in on_two_nodes(tmp_path, "train")
    run = run_of(tmp_path / "undisturbed", tmp_path)
    train(tmp_path / "corpus", run, PRESET, TrainSettings(workers=2, cpus_per_worker=2))
    lost = run_of(tmp_path / "run", tmp_path, resume=True)
    ours, theirs = (each.standing(PRESET).history[-1]["validation_loss"] for each in (lost, run))
    assert ours == pytest.approx(theirs, abs=1e-6)
    ours, theirs = (load_file(each.path / "weights.safetensors") for each in (lost, run))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


@pytest.mark.full
def test_a_batch_whose_head_is_gone_ends_and_goes_on_elsewhere(tmp_path):
    """Lost: nothing that was committed."""
    manifest = write_manifest(tmp_path, [good(number) for number in range(40)])
    said = on_two_nodes(tmp_path, "head")
    assert (end := re.search(r"code (\d+) after (\d+) s$", said.strip())), said
    assert end[1] == "2", said
    assert "Traceback" not in said
    assert not status(tmp_path / "out").running
    assert 0 < status(tmp_path / "out").done < 40
    run_batch(manifest, tmp_path / "out", SETTINGS, resume=True, engine=plan(tmp_path / "log"))
    assert (status(tmp_path / "out").ok, verify(tmp_path / "out").sound) == (40, True)
