"""Statistics: how similar composed music is to real performances, statistic by statistic.

Conventions
-----------
``STATISTICS`` are one number a piece, ``DISTRIBUTIONS`` one histogram a piece. Two sets are compared by their
overlapped area: the integral of the smaller of two kernel density estimates, that of the distances
within one set and that of the distances between the sets (mgeval, Yang and Lerch 2020). It is 1 for equal
distributions. The overlap of two halves of the real pieces is the reference.

``ARTEFACTS`` are shares and counts that should be 0, or as in real music.

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

DISTINCT_NOTES = 100
"""Notes among which distinct pitches are counted."""
SHORT_NOTE = 0.02
"""Seconds; a shorter note sounds as a click."""
LONG_SILENCE = 4.0
"""Seconds; a listener takes a longer silence for the end."""
HISTOGRAM_EDGES = np.concatenate([[0.0], np.geomspace(0.01, 10.0, 31)])
"""Edges, in seconds, of the histograms of steps and durations."""
DENSITY_POINTS = 512
"""Points at which densities are compared."""


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
        "note_rate": float(len(notes) / max(float(notes["onset"][-1] - notes["onset"][0]), 0.05)),
        "polyphony": float(duration.sum() / max(sounding_seconds(notes), 0.01)),
        "median_step": float(np.median(step)),
        "median_duration": float(np.median(duration)),
        "mean_velocity": float(notes["velocity"].mean()),
        "longest_run": float(longest_run(pitch)),
    }


STATISTICS = (
    "pitch_class_entropy", "scale_consistency", "range", "distinct_pitches", "note_rate", "polyphony",
    "median_step", "median_duration", "mean_velocity", "longest_run",
)  # fmt: skip
DISTRIBUTIONS = ("step_histogram", "duration_histogram")
ARTEFACTS = ("short_notes", "off_keyboard", "long_silences")


def distributions_of(notes: Notes) -> dict[str, Floats]:
    """Histograms of steps and durations, each adding up to 1."""
    found = {"step_histogram": steps(notes)[1:], "duration_histogram": notes["duration"]}
    counts = {
        name: np.histogram(values, HISTOGRAM_EDGES)[0].astype(np.float64) for name, values in found.items()
    }
    return {name: count / max(count.sum(), 1) for name, count in counts.items()}


def artefacts_of(notes: Notes) -> dict[str, float]:
    """Share of notes under 20 ms, share of notes off the keyboard, and number of silences over 4 s."""
    sounding_until = np.maximum.accumulate(notes["onset"] + notes["duration"])
    return {
        "short_notes": float((notes["duration"] < SHORT_NOTE - 1e-6).mean()),
        "off_keyboard": float(((notes["pitch"] < LOWEST_KEY) | (notes["pitch"] > HIGHEST_KEY)).mean()),
        "long_silences": float((notes["onset"][1:] - sounding_until[:-1] > LONG_SILENCE).sum()),
    }


def distinct_pitches(pitch: NDArray[np.int64]) -> float:
    """Mean number of distinct pitches in a stretch of 100 notes; a shorter piece is one stretch.

    >>> distinct_pitches(np.arange(250) % 7)
    7.0
    """
    stretches = [pitch[first : first + DISTINCT_NOTES] for first in range(0, len(pitch), DISTINCT_NOTES)]
    whole = [stretch for stretch in stretches if len(stretch) == DISTINCT_NOTES] or stretches[:1]
    return float(np.mean([len(np.unique(stretch)) for stretch in whole]))


def longest_run(pitch: NDArray[np.int64]) -> int:
    """The largest number of successive notes with one pitch.

    >>> longest_run(np.array([60, 62, 62, 62, 60]))
    3
    """
    ends = np.flatnonzero(np.diff(pitch, append=-1))
    return int(np.diff(ends, prepend=-1).max())


def overlapped_area(one: Floats, other: Floats, reference: Floats) -> float:
    """Overlapped area of two densities: that of the distances within ``one`` and of those to ``other``.

    Args:
        one: [P, D] a statistic, or a histogram, of each piece of a set.
        other: [Q, D] of each piece of another set.
        reference: [R, D] whose standard deviation is the unit of the distances.
    """
    scale = np.maximum(reference.std(axis=0), 1e-9)
    one, other = one / scale, other / scale
    within = _distances(one, one)[np.triu_indices(len(one), 1)]
    between = _distances(one, other).ravel()
    top = float(max(within.max(), between.max())) * 1.1 + 1e-9
    points = np.linspace(0, top, DENSITY_POINTS)
    lower = np.minimum(_density(within)(points), _density(between)(points))
    return float(min(1.0, np.trapezoid(lower, points)))


def compare_with_real(composed: Sequence[Notes], real: Sequence[Notes]) -> dict[str, dict[str, float]]:
    """Compare composed pieces with real ones, statistic by statistic.

    Returns:
        For each statistic ``composed_median``, ``real_median``, ``overlap`` (of composed and real pieces) and
        ``reference_overlap`` (of two halves of the real pieces). For ``mean`` the means of both overlaps and
        their ratio, ``overlap_ratio``. For each artefact the means ``composed`` and ``real``.
    """
    rows, real_rows = _table(composed), _table(real)
    report: dict[str, dict[str, float]] = {}
    for name in (*STATISTICS, *DISTRIBUTIONS):
        ours, theirs = rows[name], real_rows[name]
        report[name] = {
            "overlap": overlapped_area(ours, theirs, theirs),
            "reference_overlap": overlapped_area(theirs[::2], theirs[1::2], theirs),
        }
        if name in STATISTICS:
            report[name] |= {
                "composed_median": float(np.median(ours)),
                "real_median": float(np.median(theirs)),
            }
    both = [float(np.mean([row[key] for row in report.values()])) for key in ("overlap", "reference_overlap")]
    report["mean"] = {
        "overlap": both[0],
        "reference_overlap": both[1],
        "overlap_ratio": both[0] / both[1],
    }
    for name in ARTEFACTS:
        report[name] = {
            "composed": float(np.mean([artefacts_of(notes)[name] for notes in composed])),
            "real": float(np.mean([artefacts_of(notes)[name] for notes in real])),
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
    if values.std() < 1e-9:  # equal pieces have no density; a narrow one replaces it
        values = values + np.linspace(-1e-3, 1e-3, len(values))
    return gaussian_kde(values)
