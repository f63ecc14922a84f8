"""Evaluate: a checkpoint on one split of a corpus, by Ray Data: pieces in parts, sums back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
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
    parts = [str(part.resolve()) for part in corpus.parts(folder)]
    counts = training_counts(_counts(parts))
    work = {"checkpoint": checkpoint and str(checkpoint.resolve()), "counts": counts}
    dataset = ray.data.read_parquet(parts).map_batches(
        sums_of,
        batch_size=8,
        batch_format="pyarrow",
        fn_kwargs={**work, "split": None if split == "all" else split, "threads": 1},
    )
    sums: dict[str, float] = {}
    with Meter("evaluate", pieces, "pieces") as meter:
        for row in dataset.iter_rows():
            meter.advance(row["pieces"])
            for name, value in json.loads(row["sums"]).items():
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


def _counts(parts: list[str]) -> Any:
    rows = ray.data.read_parquet(parts).map_batches(counts_of, batch_size=None, batch_format="pyarrow")
    return np.sum([row["counts"] for row in rows.iter_rows()], axis=0)


def counts_of(table: pa.Table) -> pa.Table:
    """Rows of a corpus to one row of training counts: runs in a worker."""
    total = counted(notes for _, notes in corpus.pieces_of(table, "train"))
    kind = pa.list_(pa.float64(), N_PITCHES + 3)
    return pa.table({"counts": pa.array([total.tolist()], kind)})


def sums_of(
    table: pa.Table, checkpoint: str | None, counts: TrainingCounts, split: str | None, threads: int
) -> pa.Table:
    """Rows of a corpus to one row of sums: runs in a worker."""
    torch.set_num_threads(threads)
    loaded = load_checkpoint(Path(checkpoint) if checkpoint else None)
    pieces = [notes for _, notes in corpus.pieces_of(table, split)]
    network = loaded.network.to(best_device())
    sums = likelihood_sums(network, pieces, counts, window=loaded.preset.window)
    return pa.table({"sums": [json.dumps(sums)], "pieces": [len(pieces)]})
