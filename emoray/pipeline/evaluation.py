"""Evaluation: the likelihood of a split under checkpoints, and what a checkpoint composes, by Ray.

``evaluate`` sends pieces to workers part by part and adds the sums that come back. ``evaluate_control`` has
Ray tasks compose every case for every emotion from the same seeds, and reports what judges measure. Music
depends on the request alone, so the report does not depend on how many tasks run at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch

from emoray.compose.decoding import BatchDecoder
from emoray.config import CONDITIONED_MODES, GUIDANCE_MODES, Prompt
from emoray.dataset import corpus
from emoray.errors import CorpusError
from emoray.evaluate.control import (
    COMPOSED,
    EMOTIONS,
    PAIR,
    SEED_NOTES,
    SEEDS,
    UNGUIDED,
    Case,
    control_report,
    known_effect,
    seeds_of,
    variety,
)
from emoray.evaluate.counting import RECENT, TrainingCounts
from emoray.evaluate.grid import added
from emoray.evaluate.judges import bench
from emoray.evaluate.likelihood import (
    UNKNOWN,
    Deviations,
    Sums,
    likelihood_report,
    likelihood_sums,
    nats_after_seeds,
)
from emoray.evaluate.memorisation import Training
from emoray.evaluate.statistics import FAULTS, compared
from emoray.model.checkpoint import Checkpoint, best_device, load_checkpoint
from emoray.notes import Notes
from emoray.pipeline.corpus_tasks import on_parts
from emoray.progress import Meter
from emoray.readers.annotations import SPLITS

EVALUATED_SPLITS = (*SPLITS, "all")


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
    if split not in EVALUATED_SPLITS:
        raise CorpusError(folder, f"has no split {split!r}; choose one of {', '.join(EVALUATED_SPLITS)}")
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


FEWEST_SEEDS = 6
"""Two halves of fewer have no distances to compare."""
STRENGTHS = (0.5, 1.5)
"""Of the default mode, beside 1."""


@dataclass(frozen=True, eq=False)
class Made:
    """What a case made of all seeds for one emotion."""

    pieces: list[Notes]
    nats: float
    """Pitch, step and duration under the unguided network, a note."""
    divergence: float
    """Of what was drawn from, from the unguided network, nats a note."""


def cases_of(checkpoint: Checkpoint) -> list[Case]:
    """Every mode that a checkpoint can be asked for, and its default mode at several strengths."""
    led = checkpoint.preset_name == "expressive"
    modes = [mode for mode in GUIDANCE_MODES if led or mode not in CONDITIONED_MODES]
    return [Case(mode) for mode in modes] + [Case(checkpoint.guidance, strength) for strength in STRENGTHS]


def evaluate_control(
    folder: Path | None,
    pieces_of: Path,
    *,
    split: str = "test",
    seeds: int = SEEDS,
    composed: int = COMPOSED,
    cases: list[Case] | None = None,
) -> dict[str, Any]:
    """Control, cost, variety, statistics and memorisation of a checkpoint, from openings of a split.

    Args:
        folder: the checkpoint; None is the one that ships.
        pieces_of: a corpus.
        split: where the seeds come from.
        seeds: how many, at most.
        composed: notes after each.
        cases: None is ``cases_of`` the checkpoint.

    Raises:
        CorpusError: too few pieces of the split are long enough.
    """
    checkpoint = load_checkpoint(folder)
    found = [notes for _, notes in corpus.read_pieces(pieces_of, split, sounding=checkpoint.sounding)]
    openings, real = seeds_of(found, seeds, composed)
    if len(openings) < FEWEST_SEEDS:
        raise CorpusError(
            pieces_of,
            f"has only {len(openings)} stretches of {SEED_NOTES + composed} {split} notes to compose from,"
            f" {FEWEST_SEEDS} are needed; ingest more files or ask for fewer --notes",
        )
    asked = cases_of(checkpoint) if cases is None else cases
    made = _made(folder, checkpoint, openings, composed, asked)
    unguided = made[UNGUIDED, "happy"]
    report: dict[str, Any] = {
        "seeds": len(openings),
        "composed": composed,
        "default": Case(checkpoint.guidance).name,
        "judges": {"accuracy": bench().accuracy, "provenance": bench().provenance},
        "real": {"variety": variety(real)},
        "unguided": {
            "nats": unguided.nats,
            "variety": variety(unguided.pieces),
            "statistics": compared(unguided.pieces, real),
            "divergence": unguided.divergence,
        },
        "rule": control_report(known_effect(real), real, bench()),
        "cases": {case.name: _case_report(case, made, unguided, real) for case in asked if case != UNGUIDED},
    }
    default = Case(checkpoint.guidance)
    if default in asked:
        training = Training([notes for _, notes in corpus.read_pieces(pieces_of, "train", sounding=True)])
        guided = [piece for emotion in PAIR for piece in made[default, emotion].pieces]
        report["memorisation"] = {
            name: _longest(training, pieces)
            for name, pieces in (("composed", guided), ("unguided", unguided.pieces), ("real", real))
        }
    return report


def _case_report(
    case: Case, made: dict[tuple[Case, str], Made], unguided: Made, real: list[Notes]
) -> dict[str, Any]:
    by_emotion = {emotion: made[case, emotion] for emotion in EMOTIONS if (case, emotion) in made}
    pair = [piece for emotion in PAIR for piece in by_emotion[emotion].pieces]
    heard = control_report({name: one.pieces for name, one in by_emotion.items()}, unguided.pieces, bench())
    beside_real = compared(pair, real)
    extra = {emotion: by_emotion[emotion].nats - unguided.nats for emotion in PAIR}
    return heard | {
        "variety": variety(pair),
        "extra_nats": extra | {"worse": max(extra.values())},
        "divergence": float(np.mean([by_emotion[emotion].divergence for emotion in PAIR])),
        "overlap_share": beside_real["all"]["share"],
        "faults": {name: beside_real[name]["found"] for name in FAULTS},
        "statistics": beside_real,
    }


def _longest(training: Training, pieces: list[Notes]) -> dict[str, float]:
    found = [training.longest_shared(notes) for notes in pieces]
    return {"median": float(np.median(found)), "most": float(np.max(found))}


def _made(
    folder: Path | None, checkpoint: Checkpoint, openings: list[Notes], composed: int, cases: list[Case]
) -> dict[tuple[Case, str], Made]:
    """Every case with every emotion it is asked for; the default mode at strength 1 with all four."""
    wanted = [(UNGUIDED, "happy")]
    four = Case(checkpoint.guidance) if checkpoint.preset_name == "expressive" else None
    for case in cases:
        if case != UNGUIDED:
            wanted += [(case, emotion) for emotion in (EMOTIONS if case == four else PAIR)]
    shared = ray.put(openings)
    where = str(folder.resolve()) if folder else None
    task = ray.remote(num_cpus=1)(compose_case)
    waiting = {task.remote(where, shared, composed, *one): one for one in wanted}
    made: dict[tuple[Case, str], Made] = {}
    with Meter("compose", len(wanted), "cases") as meter:
        while waiting:
            [ready], _ = ray.wait(list(waiting), num_returns=1)
            made[waiting.pop(ready)] = ray.get(ready)
            meter.advance(1)
    return made


def compose_case(folder: str | None, openings: list[Notes], composed: int, case: Case, emotion: str) -> Made:
    """One case for one emotion from all seeds: runs in a worker."""
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(Path(folder) if folder else None)
    valence, arousal = EMOTIONS[emotion]
    requests = [
        Prompt(
            seed=seed, valence=valence, arousal=arousal, random_seed=index, notes=composed,
            guidance=case.mode, strength=case.strength,
        )
        for index, seed in enumerate(openings)
    ]  # fmt: skip
    found = BatchDecoder(checkpoint, batch_size=len(requests)).pieces(requests)
    pieces = [piece.notes for piece in found]
    return Made(
        pieces=pieces,
        nats=nats_after_seeds(checkpoint, openings, pieces),
        divergence=float(np.mean([piece.divergence for piece in found])),
    )
