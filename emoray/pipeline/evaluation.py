"""Evaluation: the likelihood of a split under checkpoints, and what a checkpoint composes, by Ray.

``evaluate`` sends pieces to workers part by part and adds the sums that come back. ``evaluate_control`` runs
a Ray task for each case and emotion, all from the same seeds, and reports what judges measure. The music
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
from emoray.config import CONDITIONED_MODES, GUIDANCE_MODES
from emoray.dataset import corpus
from emoray.errors import CorpusError
from emoray.evaluate.control import (
    COMPOSED_NOTES,
    N_SEEDS,
    PAIR,
    QUADRANTS,
    SEED_NOTES,
    UNGUIDED,
    Case,
    control_report,
    positive_control,
    seeds_of,
    variety,
)
from emoray.evaluate.judges import load_judges
from emoray.evaluate.likelihood import (
    UNIT_DEVIATIONS,
    Deviations,
    Sums,
    likelihood_report,
    likelihood_sums,
    nats_after_seeds,
)
from emoray.evaluate.memorisation import TrainingSequences
from emoray.evaluate.reference_models import CONTEXT_NOTES, TrainingCounts, summed
from emoray.evaluate.statistics import ARTEFACTS, compare_with_real
from emoray.model.checkpoint import Checkpoint, best_device, load_checkpoint
from emoray.notes import Notes
from emoray.pipeline.corpus_tasks import on_parts
from emoray.pipeline.resources import report_waits
from emoray.progress import Meter
from emoray.readers.annotations import SPLITS
from emoray.request import Prompt

EVALUATED_SPLITS = (*SPLITS, "all")


def evaluate(
    checkpoint: Path | None, folder: Path, *, split: str = "test", compare_with: Sequence[Path] = ()
) -> dict[str, Any]:
    """Likelihood of one split of a corpus: ``{"likelihood": {"pitch_nll": ...}, ...}``.

    Args:
        checkpoint: None is the checkpoint that ships.
        folder: a corpus.
        split: the pieces that are predicted.
        compare_with: further checkpoints; ``compared_with`` has their likelihoods, by names of folders.

    Raises:
        CorpusError: the folder is no corpus, or the split has no piece that is longer than 25 notes.
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
    others = {
        other.name: _likelihood(other, folder, split, pieces, counts)["likelihood"] for other in compare_with
    }
    return report | ({"compared_with": others} if others else {})


def _likelihood(
    checkpoint: Path | None, folder: Path, split: str, pieces: int, counts: TrainingCounts
) -> dict[str, Any]:
    loaded, summary = load_checkpoint(checkpoint), corpus.open_corpus(folder)
    work = {"checkpoint": checkpoint and str(checkpoint.resolve()), "counts": counts}
    deviations = UNIT_DEVIATIONS
    if loaded.preset_name == "baseline" and summary.splits.get("validation"):
        known = _sums(
            folder, "validation", summary.splits["validation"], work | {"deviations": UNIT_DEVIATIONS}
        )
        if known.get("notes"):
            errors = (known[f"{name}_mse"] / known["notes"] for name in ("step", "duration"))
            deviations = (math.sqrt(next(errors)), math.sqrt(next(errors)))
    sums = _sums(folder, split, pieces, work | {"deviations": deviations})
    if not sums.get("notes"):
        raise CorpusError(folder, f"has no {split} piece longer than {CONTEXT_NOTES} notes; ingest more")
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
    return summed([found[part] for part in sorted(found)])  # in order, so that rounding is the same each time


def _counts(folder: Path) -> TrainingCounts:
    counts = {
        part: flat.values.to_numpy()
        for table in on_parts(folder, counts_of)
        for part, flat in zip(table["part"].to_pylist(), table["counts"], strict=True)
    }
    return TrainingCounts.from_flat(np.sum([counts[part] for part in sorted(counts)], axis=0))


def both_durations(table: pa.Table, split: str | None) -> list[tuple[Notes, Notes]]:
    """The valid pieces of a split, each with key-down durations and with durations that include the pedal."""
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
"""Fewer seeds have no two halves whose distances can be compared."""
OTHER_STRENGTHS = (0.5, 1.5)
"""Strengths of the default mode that are evaluated besides 1."""


@dataclass(frozen=True, eq=False)
class CaseMusic:
    """The music that one case composed from all seeds for one emotion."""

    pieces: list[Notes]
    nll: float
    """Unconditional negative log-likelihood of pitch, step and duration, nats a note."""
    kl_divergence: float
    """Kullback-Leibler divergence of the guided from the unguided distributions, nats a note."""


def cases_of(checkpoint: Checkpoint) -> list[Case]:
    """Every guidance mode of a checkpoint, and its default mode at several strengths."""
    conditional = checkpoint.preset_name == "expressive"
    modes = [mode for mode in GUIDANCE_MODES if conditional or mode not in CONDITIONED_MODES]
    return [Case(mode) for mode in modes] + [
        Case(checkpoint.guidance, strength) for strength in OTHER_STRENGTHS
    ]


def evaluate_control(
    folder: Path | None,
    pieces_of: Path,
    *,
    split: str = "test",
    seeds: int = N_SEEDS,
    composed: int = COMPOSED_NOTES,
    cases: list[Case] | None = None,
) -> dict[str, Any]:
    """Evaluate control, likelihood, variety, statistics and memorisation of what a checkpoint composes.

    Args:
        folder: the checkpoint; None is the one that ships.
        pieces_of: a corpus.
        split: the pieces that the seeds are taken from.
        seeds: the largest number of seeds.
        composed: notes that are composed from each.
        cases: None evaluates ``cases_of`` the checkpoint.

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
    evaluated = cases_of(checkpoint) if cases is None else cases
    music = _compose(folder, checkpoint, openings, composed, evaluated)
    unguided, judges = music[UNGUIDED, "happy"], load_judges()
    report: dict[str, Any] = {
        "seeds": len(openings),
        "composed_notes": composed,
        "default_case": Case(checkpoint.guidance).name,
        "judges": {
            "cross_validated_accuracy": judges.cross_validated_accuracy,
            "provenance": judges.provenance,
        },
        "real": {"variety": variety(real)},
        "unguided": {
            "nll": unguided.nll,
            "variety": variety(unguided.pieces),
            "statistics": compare_with_real(unguided.pieces, real),
            "kl_divergence": unguided.kl_divergence,
        },
        "positive_control": control_report(positive_control(real), real, judges),
        "cases": {
            case.name: _case_report(case, music, unguided, real) for case in evaluated if case != UNGUIDED
        },
    }
    default = Case(checkpoint.guidance)
    if default in evaluated:
        training = TrainingSequences(
            [notes for _, notes in corpus.read_pieces(pieces_of, "train", sounding=True)]
        )
        guided = [piece for emotion in PAIR for piece in music[default, emotion].pieces]
        report["memorisation"] = {
            name: _longest(training, pieces)
            for name, pieces in (("composed", guided), ("unguided", unguided.pieces), ("real", real))
        }
    return report


def _case_report(
    case: Case, music: dict[tuple[Case, str], CaseMusic], unguided: CaseMusic, real: list[Notes]
) -> dict[str, Any]:
    by_emotion = {emotion: music[case, emotion] for emotion in QUADRANTS if (case, emotion) in music}
    pair = [piece for emotion in PAIR for piece in by_emotion[emotion].pieces]
    pieces = {emotion: one.pieces for emotion, one in by_emotion.items()}
    statistics = compare_with_real(pair, real)
    increase = {emotion: by_emotion[emotion].nll - unguided.nll for emotion in PAIR}
    return control_report(pieces, unguided.pieces, load_judges()) | {
        "variety": variety(pair),
        "nll_increase": increase | {"max": max(increase.values())},
        "kl_divergence": float(np.mean([by_emotion[emotion].kl_divergence for emotion in PAIR])),
        "overlap_ratio": statistics["mean"]["overlap_ratio"],
        "artefacts": {name: statistics[name]["composed"] for name in ARTEFACTS},
        "statistics": statistics,
    }


def _longest(training: TrainingSequences, pieces: list[Notes]) -> dict[str, float]:
    found = [training.longest_shared(notes) for notes in pieces]
    return {"median": float(np.median(found)), "max": float(np.max(found))}


def _compose(
    folder: Path | None, checkpoint: Checkpoint, openings: list[Notes], composed: int, cases: list[Case]
) -> dict[tuple[Case, str], CaseMusic]:
    """Compose every case for ``PAIR``, and the default case for all ``QUADRANTS``."""
    wanted = [(UNGUIDED, "happy")]
    four = Case(checkpoint.guidance) if checkpoint.preset_name == "expressive" else None
    for case in cases:
        if case != UNGUIDED:
            wanted += [(case, emotion) for emotion in (QUADRANTS if case == four else PAIR)]
    shared = ray.put(openings)
    where = str(folder.resolve()) if folder else None
    task = ray.remote(num_cpus=1)(compose_case)
    waiting = {task.remote(where, shared, composed, *one): one for one in wanted}
    music: dict[tuple[Case, str], CaseMusic] = {}
    with report_waits("evaluate", {"CPU": 1.0}), Meter("compose", len(wanted), "cases") as meter:
        while waiting:
            [ready], _ = ray.wait(list(waiting), num_returns=1)
            music[waiting.pop(ready)] = ray.get(ready)
            meter.advance(1)
    return music


def compose_case(
    folder: str | None, openings: list[Notes], composed: int, case: Case, emotion: str
) -> CaseMusic:
    """Compose one case for one emotion from all seeds, in a worker."""
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(Path(folder) if folder else None)
    valence, arousal = QUADRANTS[emotion]
    requests = [
        Prompt(
            seed=seed, valence=valence, arousal=arousal, random_seed=index, notes=composed,
            guidance=case.mode, strength=case.strength,
        )
        for index, seed in enumerate(openings)
    ]  # fmt: skip
    found = BatchDecoder(checkpoint, batch_size=len(requests)).pieces(requests)
    pieces = [piece.notes for piece in found]
    return CaseMusic(
        pieces=pieces,
        nll=nats_after_seeds(checkpoint, openings, pieces),
        kl_divergence=float(np.mean([piece.divergence for piece in found])),
    )
