"""Statistics: what music is like, in numbers, beside what real performances are like.

Conventions
-----------
A set of pieces is measured statistic by statistic (``STATISTICS``, one number a piece; ``DISTRIBUTIONS``, a
histogram a piece). Two sets are compared by their overlapped area: the integral of the smaller of two kernel
density estimates, of the distances within one set and of those between the two (mgeval, Yang and Lerch 2020).
1 is alike. Two halves of the real pieces compared with each other are the ceiling.

``FAULTS`` are shares that should be 0, or as in real music.

Letters: **P** pieces.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from emoray.dataset.keys import in_scale, pitch_classes
from emoray.evaluate.judges import sounding_seconds
from emoray.notes import HIGHEST_KEY, LOWEST_KEY, Floats, Notes, steps

HUNDRED = 100
"""Notes among which distinct pitches are counted."""
SHORT = 0.02
"""Seconds under which a note is a click."""
SILENCE = 4.0
"""Seconds without a sound that a listener takes for the end."""
TIME_EDGES = np.concatenate([[0.0], np.geomspace(0.01, 10.0, 31)])
"""Seconds: bins of the histograms of steps and durations."""
POINTS = 512
"""At which densities are compared."""


def statistics_of(notes: Notes) -> dict[str, float]:
    """One number for each of ``STATISTICS``.

    Args:
        notes: [n], n > 1, composed or real, without the seed.
    """
    pitch, step = notes["pitch"].astype(np.int64), steps(notes)[1:]
    duration = notes["duration"].astype(np.float64)
    profile = pitch_classes(pitch)
    present = profile[profile > 0]
    return {
        "pitch_class_entropy": float(-(present * np.log2(present)).sum()),
        "scale_consistency": float(in_scale(profile).max()),
        "range": float(pitch.max() - pitch.min()),
        "distinct_pitches": distinct_pitches(pitch),
        "density": float(len(notes) / max(float(notes["onset"][-1] - notes["onset"][0]), 0.05)),
        "polyphony": float(duration.sum() / max(sounding_seconds(notes), 0.01)),
        "median_step": float(np.median(step)),
        "median_duration": float(np.median(duration)),
        "mean_velocity": float(notes["velocity"].mean()),
        "longest_run": float(longest_run(pitch)),
    }


STATISTICS = (
    "pitch_class_entropy", "scale_consistency", "range", "distinct_pitches", "density", "polyphony",
    "median_step", "median_duration", "mean_velocity", "longest_run",
)  # fmt: skip
DISTRIBUTIONS = ("step_histogram", "duration_histogram")
FAULTS = ("short_notes", "off_keyboard", "long_silences")


def distributions_of(notes: Notes) -> dict[str, Floats]:
    """Histograms of steps and durations, each adding up to 1."""
    found = {"step_histogram": steps(notes)[1:], "duration_histogram": notes["duration"]}
    counts = {name: np.histogram(values, TIME_EDGES)[0].astype(np.float64) for name, values in found.items()}
    return {name: count / max(count.sum(), 1) for name, count in counts.items()}


def faults_of(notes: Notes) -> dict[str, float]:
    """Shares of notes under 20 ms and off the piano, and silences over 4 s in the piece."""
    silent = np.maximum.accumulate(notes["onset"] + notes["duration"])
    return {
        "short_notes": float((notes["duration"] < SHORT - 1e-6).mean()),
        "off_keyboard": float(((notes["pitch"] < LOWEST_KEY) | (notes["pitch"] > HIGHEST_KEY)).mean()),
        "long_silences": float((notes["onset"][1:] - silent[:-1] > SILENCE).sum()),
    }


def distinct_pitches(pitch: NDArray[np.int64]) -> float:
    """Distinct pitches in 100 notes, the mean over stretches of 100; a shorter piece counts as it is.

    >>> distinct_pitches(np.arange(250) % 7)
    7.0
    """
    stretches = [pitch[first : first + HUNDRED] for first in range(0, len(pitch), HUNDRED)]
    whole = [stretch for stretch in stretches if len(stretch) == HUNDRED] or stretches[:1]
    return float(np.mean([len(np.unique(stretch)) for stretch in whole]))


def longest_run(pitch: NDArray[np.int64]) -> int:
    """Most notes in a row with one pitch.

    >>> longest_run(np.array([60, 62, 62, 62, 60]))
    3
    """
    ends = np.flatnonzero(np.diff(pitch, append=-1))
    return int(np.diff(ends, prepend=-1).max())


def overlapped_area(one: Floats, other: Floats, reference: Floats) -> float:
    """How much two densities have in common: distances within ``one`` against those to ``other``.

    Args:
        one: [P, D] a statistic, or a histogram, of each piece of a set.
        other: [Q, D] of each piece of another set.
        reference: [R, D] whose spread gives the unit, the same for all that is compared.
    """
    scale = np.maximum(reference.std(axis=0), 1e-9)
    one, other = one / scale, other / scale
    within = _distances(one, one)[np.triu_indices(len(one), 1)]
    between = _distances(one, other).ravel()
    top = float(max(within.max(), between.max())) * 1.1 + 1e-9
    points = np.linspace(0, top, POINTS)
    lower = np.minimum(_density(within)(points), _density(between)(points))
    return float(min(1.0, np.trapezoid(lower, points)))


def compared(found: Sequence[Notes], real: Sequence[Notes]) -> dict[str, dict[str, float]]:
    """Each statistic of a set beside the real one.

    Returns:
        For each statistic: ``median`` of the set, ``real`` median, ``overlap`` with the real set, and
        ``ceiling``, the overlap of the two halves of the real set. Under ``all``: the mean overlap, ceiling
        and their ratio ``share``. Under each fault: its mean ``found`` and ``real``.
    """
    rows, real_rows = _table(found), _table(real)
    report: dict[str, dict[str, float]] = {}
    for name in (*STATISTICS, *DISTRIBUTIONS):
        ours, theirs = rows[name], real_rows[name]
        report[name] = {
            "overlap": overlapped_area(ours, theirs, theirs),
            "ceiling": overlapped_area(theirs[::2], theirs[1::2], theirs),
        }
        if name in STATISTICS:
            report[name] |= {"median": float(np.median(ours)), "real": float(np.median(theirs))}
    both = [float(np.mean([row[key] for row in report.values()])) for key in ("overlap", "ceiling")]
    report["all"] = {"overlap": both[0], "ceiling": both[1], "share": both[0] / both[1]}
    for name in FAULTS:
        report[name] = {
            "found": float(np.mean([faults_of(notes)[name] for notes in found])),
            "real": float(np.mean([faults_of(notes)[name] for notes in real])),
        }
    return report


def _table(pieces: Sequence[Notes]) -> dict[str, Floats]:
    """[P, D] of each statistic and each distribution."""
    rows = [
        {name: np.array([value]) for name, value in statistics_of(notes).items()} | distributions_of(notes)
        for notes in pieces
    ]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _distances(one: Floats, other: Floats) -> Floats:
    apart: Floats = np.sqrt(((one[:, None, :] - other[None, :, :]) ** 2).sum(axis=-1))
    return apart


def _density(values: Floats) -> gaussian_kde:
    if values.std() < 1e-9:  # a set of equal pieces has no density; a narrow one stands for it
        values = values + np.linspace(-1e-3, 1e-3, len(values))
    return gaussian_kde(values)
