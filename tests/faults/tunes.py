"""A corpus of twelve tunes, for tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emoray.dataset.clusters import EmotionClusters
from emoray.notes import Notes, as_notes
from emoray.pipeline.cluster import cluster_corpus
from emoray.pipeline.ingest import ingest
from emoray.writers.midi import midi_bytes


def tune(random_seed: int) -> Notes:
    """Sixty notes that wander."""
    generator = np.random.default_rng(random_seed)
    pitch = 60 + np.cumsum(generator.integers(-2, 3, 60)) % 24
    return as_notes(np.arange(60) * 0.2, [0.2] * 60, pitch, [80] * 60)


def corpus_of_tunes(folder: Path) -> EmotionClusters:
    """``corpus`` and ``emotion.json`` in a folder; gives its clusters."""
    (folder / "midi").mkdir()
    lines = ["canonical_composer,canonical_title,split,year,midi_filename"]
    for number in range(12):
        (folder / "midi" / f"{number:02}.mid").write_bytes(midi_bytes(tune(number)))
        lines.append(f"Nobody,Tune,{'train' if number % 6 else 'validation'},2000,{number:02}.mid")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    ingest(folder / "midi", folder / "corpus", metadata=folder / "list.csv")
    clusters, _ = cluster_corpus(folder / "corpus")
    clusters.save(folder / "emotion.json")
    return clusters
