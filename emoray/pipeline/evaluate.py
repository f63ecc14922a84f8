"""Evaluate: the likelihood of one split under checkpoints, part by part: pieces there, sums back.

What a checkpoint composes is measured in ``control.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from emoray.dataset import corpus
from emoray.errors import CorpusError
from emoray.evaluate.counting import RECENT, TrainingCounts
from emoray.evaluate.grid import added
from emoray.evaluate.likelihood import UNKNOWN, Deviations, Sums, likelihood_report, likelihood_sums
from emoray.model.checkpoint import best_device, load_checkpoint
from emoray.notes import Notes
from emoray.pipeline.parts import on_parts
from emoray.progress import Meter

SPLITS = ("train", "validation", "test", "all")


def evaluate(
    checkpoint: Path | None, folder: Path, *, split: str = "test", beside: Sequence[Path] = ()
) -> dict[str, Any]:
    """Likelihood of one split of a corpus: ``{"likelihood": {"pitch_nll": ...}, ...}``.

    Args:
        checkpoint: None is the one that ships.
        folder: a corpus.
        split: which pieces.
        beside: further checkpoints; their figures are under ``beside``, by the names of their folders.

    Raises:
        CorpusError: it is not a corpus, or has no piece of that split that is longer than a window.
        CheckpointError: see ``load_checkpoint``.
    """
    summary = corpus.open_corpus(folder)
    if split not in SPLITS:
        raise CorpusError(folder, f"has no split {split!r}; choose one of {', '.join(SPLITS)}")
    pieces = summary.rows - summary.errors if split == "all" else summary.splits.get(split, 0)
    if not pieces:
        raise CorpusError(folder, f"has no {split} pieces; ingest more files or choose another --split")
    counts = _counts(folder)
    report = {"split": split, "pieces": pieces} | _likelihood(checkpoint, folder, split, pieces, counts)
    others = {other.name: _likelihood(other, folder, split, pieces, counts)["likelihood"] for other in beside}
    return report | ({"beside": others} if others else {})


def _likelihood(
    checkpoint: Path | None, folder: Path, split: str, pieces: int, counts: TrainingCounts
) -> dict[str, Any]:
    loaded, summary = load_checkpoint(checkpoint), corpus.open_corpus(folder)
    work = {"checkpoint": checkpoint and str(checkpoint.resolve()), "counts": counts}
    deviations = UNKNOWN
    if loaded.preset_name == "baseline" and summary.splits.get("validation"):
        known = _sums(folder, "validation", summary.splits["validation"], work | {"deviations": UNKNOWN})
        if known.get("notes"):
            errors = (known[f"{name}_mse"] / known["notes"] for name in ("step", "duration"))
            deviations = (math.sqrt(next(errors)), math.sqrt(next(errors)))
    sums = _sums(folder, split, pieces, work | {"deviations": deviations})
    if not sums.get("notes"):
        raise CorpusError(folder, f"has no {split} piece longer than {RECENT} notes; ingest more")
    return {
        "checkpoint": loaded.fingerprint[:12],
        "preset": loaded.preset_name,
        "likelihood": likelihood_report(sums),
    }


def _sums(folder: Path, split: str, pieces: int, work: dict[str, Any]) -> Sums:
    found: dict[int, Sums] = {}
    with Meter(f"evaluate {split}", pieces, "pieces") as meter:
        for sums in on_parts(folder, sums_of, split=None if split == "all" else split, **work):
            for row in sums.to_pylist():
                found[row["part"]] = json.loads(row["sums"])
                meter.advance(row["pieces"])
    return added([found[part] for part in sorted(found)])  # in order, so that rounding is the same each time


def _counts(folder: Path) -> TrainingCounts:
    counts = {
        part: flat.values.to_numpy()
        for table in on_parts(folder, counts_of)
        for part, flat in zip(table["part"].to_pylist(), table["counts"], strict=True)
    }
    return TrainingCounts.from_flat(np.sum([counts[part] for part in sorted(counts)], axis=0))


def both_durations(table: pa.Table, split: str | None) -> list[tuple[Notes, Notes]]:
    """Good pieces of a split, each with key-down and with sounding durations."""
    both = (corpus.pieces_of(table, split, sounding=sounding) for sounding in (False, True))
    return [(key_down, sounding) for (_, key_down), (_, sounding) in zip(*both, strict=True)]


def counts_of(table: pa.Table) -> pa.Table:
    """Rows of a corpus to one row of training counts: runs in a worker."""
    flat = TrainingCounts.of(both_durations(table, "train")).flat()
    return pa.table({"counts": pa.array([flat.tolist()], pa.list_(pa.float64(), len(flat)))})


def sums_of(
    table: pa.Table,
    checkpoint: str | None,
    counts: TrainingCounts,
    deviations: Deviations,
    split: str | None,
) -> pa.Table:
    """Rows of a corpus to one row of sums: runs in a worker."""
    torch.set_num_threads(1)  # one CPU a task, as Ray counts
    loaded = load_checkpoint(Path(checkpoint) if checkpoint else None)
    loaded.network.to(best_device())
    pieces = both_durations(table, split)
    sums = likelihood_sums(loaded, pieces, counts, deviations)
    return pa.table({"sums": [json.dumps(sums)], "pieces": [len(pieces)]})
