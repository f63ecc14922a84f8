"""Evaluate: a checkpoint on one split of a corpus, by Ray Data: pieces in parts, sums back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from emoray.dataset import corpus
from emoray.errors import CorpusError
from emoray.evaluate.likelihood import (
    TrainingCounts,
    counted,
    likelihood_report,
    likelihood_sums,
    training_counts,
)
from emoray.model.checkpoint import best_device, load_checkpoint
from emoray.notes import N_PITCHES
from emoray.pipeline.parts import over_parts
from emoray.progress import Meter

SPLITS = ("train", "validation", "test", "all")


def evaluate(checkpoint: Path | None, folder: Path, *, split: str = "test") -> dict[str, Any]:
    """Likelihood of one split of a corpus: ``{"likelihood": {"pitch_nll": ...}, ...}``.

    Raises:
        CorpusError: it is not a corpus, or has no piece of that split that is longer than a window.
        CheckpointError: see ``load_checkpoint``.
    """
    loaded = load_checkpoint(checkpoint)
    summary = corpus.open_corpus(folder)
    if split not in SPLITS:
        raise CorpusError(folder, f"has no split {split!r}; choose one of {', '.join(SPLITS)}")
    pieces = summary.rows - summary.errors if split == "all" else summary.splits.get(split, 0)
    if not pieces:
        raise CorpusError(folder, f"has no {split} pieces; ingest more files or choose another --split")
    one = None if split == "all" else split
    work = {"checkpoint": checkpoint and str(checkpoint.resolve()), "counts": _counts(folder), "split": one}
    found: dict[int, dict[str, float]] = {}
    with Meter("evaluate", pieces, "pieces") as meter:
        for row in over_parts(folder, sums_of, **work).iter_rows():
            found[row["part"]] = json.loads(row["sums"])
            meter.advance(row["pieces"])
    sums: dict[str, float] = {}
    for part in sorted(found):  # in order, so that rounding is the same each time
        for name, value in found[part].items():
            sums[name] = sums.get(name, 0.0) + value
    if not sums.get("notes"):
        raise CorpusError(
            folder, f"has no {split} piece longer than {loaded.preset.window} notes; ingest more"
        )
    return {
        "split": split,
        "pieces": pieces,
        "checkpoint": loaded.fingerprint[:12],
        "likelihood": likelihood_report(sums),
    }


def _counts(folder: Path) -> TrainingCounts:
    counts = {row["part"]: row["counts"] for row in over_parts(folder, counts_of).iter_rows()}
    return training_counts(np.sum([counts[part] for part in sorted(counts)], axis=0))


def counts_of(table: pa.Table) -> pa.Table:
    """Rows of a corpus to one row of training counts: runs in a worker."""
    total = counted(notes for _, notes in corpus.pieces_of(table, "train"))
    kind = pa.list_(pa.float64(), N_PITCHES + 3)
    return pa.table({"counts": pa.array([total.tolist()], kind)})


def sums_of(table: pa.Table, checkpoint: str | None, counts: TrainingCounts, split: str | None) -> pa.Table:
    """Rows of a corpus to one row of sums: runs in a worker."""
    torch.set_num_threads(1)  # one CPU a task, as Ray counts
    loaded = load_checkpoint(Path(checkpoint) if checkpoint else None)
    pieces = [notes for _, notes in corpus.pieces_of(table, split)]
    network = loaded.network.to(best_device())
    sums = likelihood_sums(network, pieces, counts, window=loaded.preset.window)
    return pa.table({"sums": [json.dumps(sums)], "pieces": [len(pieces)]})
