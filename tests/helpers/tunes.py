"""A corpus of twelve tunes and a small expressive preset, for tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emoray.config import ExpressivePreset
from emoray.dataset.clusters import EmotionClusters
from emoray.notes import Notes, as_notes
from emoray.pipeline.clustering import cluster_corpus
from emoray.pipeline.ingest import ingest
from emoray.pipeline.run_folder import RunFolder
from emoray.pipeline.training import TrainSettings
from emoray.writers.midi import midi_bytes

PRESET = ExpressivePreset(
    embedding=16, hidden=16, head=16, chunk=8, span=32, lookahead=8, batch_size=4, epoch_spans=256, epochs=3
)  # fmt: skip
TWO_WORKERS = TrainSettings(workers=2, cpus_per_worker=1)


def tune(random_seed: int, count: int = 60) -> Notes:
    """So many notes that wander."""
    generator = np.random.default_rng(random_seed)
    pitch = 60 + np.cumsum(generator.integers(-2, 3, count)) % 24
    return as_notes(np.arange(count) * 0.2, [0.2] * count, pitch, [80] * count)


def corpus_of_tunes(folder: Path) -> EmotionClusters:
    """``corpus``, ``emotion.json`` and, for the baseline preset, ``baseline.json``; gives the first clusters.

    The tunes have 30 to 63 notes, but for the second one, which has a single note.
    """
    (folder / "midi").mkdir()
    lines = ["canonical_composer,canonical_title,split,year,midi_filename"]
    for number in range(12):
        notes = tune(number, 1 if number == 1 else 30 + 3 * number)
        (folder / "midi" / f"{number:02}.mid").write_bytes(midi_bytes(notes))
        lines.append(f"Nobody,Tune,{'train' if number % 6 else 'validation'},2000,{number:02}.mid")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    ingest(folder / "midi", folder / "corpus", metadata=folder / "list.csv")
    of_the_baseline, _ = cluster_corpus(folder / "corpus", durations="key-down")
    of_the_baseline.save(folder / "baseline.json")
    clusters, _ = cluster_corpus(folder / "corpus", durations="sounding")
    clusters.save(folder / "emotion.json")
    return clusters


def run_of(path: Path, tunes: Path, *, resume: bool = False) -> RunFolder:
    """The folder of a run on a folder of tunes."""
    asked, clusters = (
        {"preset": "expressive", "music": "maestro"},
        EmotionClusters.load(tunes / "emotion.json"),
    )
    return RunFolder.at(path, asked, clusters, resume=resume)
