"""Emotion clusters: nine features of a window of notes, two centroids of them, and which of the two is happy.

Conventions
-----------
One row of features is one window of one piece: mean, maximum and standard deviation (population) of step,
duration and pitch, in that order; seconds and MIDI numbers. A step belongs to its note, so a window's first
step reaches back to the note before the window. ``durations`` says which durations the features are of:
``key-down`` or ``sounding`` (with the sustain pedal applied). They must be those that the network reads whose
music is compared with the clusters.

Time features enter k-means as logarithms, then every feature is standardised: raw features make "happy" mean
"reaches a high top note", raw times make one cluster of the slow tail. ``mean`` and ``scale`` travel with the
centroids. Distances are Euclidean in standardised units.

Which cluster is happy is decided by one of two rules and stored with its evidence. With labelled pieces, it
is the cluster to which the happy ones (valence and arousal positive) are nearer than the sad ones (both
negative). Without labels, or when they hardly agree with either choice, it is the cluster of shorter steps
and durations: the original system's own observation.

Letters: **n** notes, **W** windows, **D** the nine features, **K** = 2 clusters.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from emoray.config import SCHEMA_VERSION
from emoray.errors import CheckpointError, CorpusError
from emoray.notes import Notes, steps

Durations = Literal["key-down", "sounding"]

FEATURES = tuple(
    f"{statistic}_{column}"
    for column in ("step", "duration", "pitch")
    for statistic in ("mean", "max", "std")
)
TIME_FEATURES = np.array([not name.endswith("pitch") for name in FEATURES])
"""[9] which features are seconds."""
SHORTEST_TIME = 0.01
"""Seconds; a shorter time counts as this long, so that chords have a logarithm."""
WEAK_AGREEMENT = 0.55
"""Balanced accuracy below which labels do not decide which cluster is happy."""


@dataclass(frozen=True, kw_only=True)
class EmotionClusters:
    """Two clusters of windows, as ``emotion.json`` holds them."""

    window: int
    """Notes in one window."""
    durations: Durations
    """Which durations the features are of."""
    mean: tuple[float, ...]
    """[9] mean of each feature, after the logarithm of times."""
    scale: tuple[float, ...]
    """[9] standard deviation of each feature, after the logarithm of times."""
    centroids: tuple[tuple[float, ...], ...]
    """[2, 9] in standardised units."""
    happy: int
    """0 or 1: which cluster is happy; the other is sad."""
    sizes: tuple[int, ...]
    """How many windows are in each cluster."""
    rule: str
    """How ``happy`` was decided."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """What it was decided on."""
    features: tuple[str, ...] = FEATURES
    version: int = SCHEMA_VERSION

    @property
    def names(self) -> tuple[str, str]:
        """What the two clusters are called, in order."""
        return ("happy", "sad") if self.happy == 0 else ("sad", "happy")

    def standardised(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """[..., 9] features in their own units to standardised ones."""
        return (logarithmic(features) - np.array(self.mean)) / np.array(self.scale)

    def distances(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """[..., 9] features in their own units to [..., 2] distances from the centroids."""
        apart = self.standardised(features)[..., None, :] - np.array(self.centroids)
        return np.sqrt((apart * apart).sum(axis=-1))

    def happier(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """[...] how much nearer the happy centroid is than the sad one, in standardised units."""
        distances = self.distances(features)
        return distances[..., 1 - self.happy] - distances[..., self.happy]

    def musical_centroids(self) -> NDArray[np.float64]:
        """[2, 9] centroids in seconds and MIDI numbers."""
        raw = np.array(self.centroids) * np.array(self.scale) + np.array(self.mean)
        return np.where(TIME_FEATURES, np.exp(raw), raw)

    def as_json(self) -> str:
        """The text of ``emotion.json``."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def save(self, path: Path) -> None:
        """Write JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.as_json())

    @classmethod
    def load(cls, path: Path) -> EmotionClusters:
        """Read what ``save`` wrote.

        Raises:
            CheckpointError: it is missing, of another version, or not emotion clusters.
        """
        try:
            fields = json.loads(path.read_text())
            if fields["version"] != SCHEMA_VERSION or tuple(fields["features"]) != FEATURES:
                raise ValueError(f"version {fields['version']}, not {SCHEMA_VERSION}")
            if fields["durations"] not in get_args(Durations):
                raise ValueError(f"unknown durations {fields['durations']!r}")
            return cls(**{name: _tuples(value) for name, value in fields.items()})
        except (OSError, ValueError, TypeError, KeyError) as err:
            raise CheckpointError(path, f"not emotion clusters ({err}); run `emoray cluster` again") from err


@dataclass(frozen=True, kw_only=True)
class LabelledPiece:
    """The windows of a piece that people labelled; valence and arousal are -1 or +1."""

    features: NDArray[np.float32]
    """[W, 9] in their own units."""
    valence: int
    arousal: int


def window_features(notes: Notes, length: int, stride: int | None = None) -> NDArray[np.float32]:
    """[W, 9] features of windows of ``length`` notes, ``stride`` apart (by default end to end).

    A piece shorter than one window is one window of what there is; no notes give no rows.
    """
    if not len(notes):
        return np.empty((0, len(FEATURES)), np.float32)
    length = min(length, len(notes))
    columns = (steps(notes), notes["duration"].astype(np.float64), notes["pitch"].astype(np.float64))
    rows: list[NDArray[np.float64]] = []
    for column in columns:
        windows = sliding_window_view(column, length)[:: stride or length]
        rows += [windows.mean(axis=1), windows.max(axis=1), windows.std(axis=1)]
    return np.stack(rows, axis=1).astype(np.float32)


def logarithmic(features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """[..., 9] features with their six times as natural logarithms."""
    times = np.log(np.maximum(features, SHORTEST_TIME))
    return np.where(TIME_FEATURES, times, features.astype(np.float64))


def fit_clusters(
    features: NDArray[np.float32],
    *,
    window: int,
    durations: Durations,
    labelled: Sequence[LabelledPiece] = (),
    random_seed: int = 0,
) -> EmotionClusters:
    """Fit two clusters to the features of windows, and decide which is happy.

    Args:
        features: [W, 9] in their own units.
        window: notes in each window.
        durations: which durations the features are of.
        labelled: pieces that people labelled, to decide by.
        random_seed: starts k-means.

    Raises:
        CorpusError: too few windows, or all alike.
    """
    from sklearn.cluster import KMeans

    if len(features) < 2:
        raise CorpusError(
            "corpus", f"has {len(features)} windows of {window} notes; k-means needs two or more"
        )
    raw = logarithmic(features)
    mean, scale = raw.mean(axis=0), raw.std(axis=0)
    scale[scale < 1e-9] = 1.0
    standardised = (raw - mean) / scale
    if not standardised.any():
        raise CorpusError("corpus", "has windows that are all alike; give it more than one kind of music")
    fitted = KMeans(n_clusters=2, n_init=10, random_state=random_seed).fit(standardised)
    slower = fitted.cluster_centers_[:, [FEATURES.index("mean_step"), FEATURES.index("mean_duration")]].sum(
        axis=1
    )
    clusters = EmotionClusters(
        window=window,
        durations=durations,
        mean=_tuples(mean.tolist()),
        scale=_tuples(scale.tolist()),
        centroids=_tuples(fitted.cluster_centers_.tolist()),
        happy=int(slower.argmin()),
        sizes=_tuples(np.bincount(fitted.labels_, minlength=2).tolist()),
        rule="shorter steps and durations are happy",
        evidence={"anchored": False},
    )
    return anchored(clusters, labelled) if labelled else clusters


def anchored(clusters: EmotionClusters, labelled: Sequence[LabelledPiece]) -> EmotionClusters:
    """The same clusters, with ``happy`` decided by labelled pieces if they agree with either choice."""
    lean = np.array([clusters.happier(piece.features).mean() for piece in labelled])
    valence = np.array([piece.valence for piece in labelled])
    arousal = np.array([piece.arousal for piece in labelled])
    diagonal = valence == arousal
    agreement = balanced_accuracy(lean[diagonal], valence[diagonal])
    flip = max(agreement, 1 - agreement) >= WEAK_AGREEMENT and agreement < 0.5
    lean = -lean if flip else lean
    decided = max(agreement, 1 - agreement) >= WEAK_AGREEMENT
    return dataclasses.replace(
        clusters,
        happy=1 - clusters.happy if flip else clusters.happy,
        rule="labelled pieces: happy leans to it, sad away from it" if decided else clusters.rule,
        evidence={
            "anchored": decided,
            "pieces": len(labelled),
            "balanced_accuracy": {
                "happy_against_sad": balanced_accuracy(lean[diagonal], valence[diagonal]),
                "valence": balanced_accuracy(lean, valence),
                "arousal": balanced_accuracy(lean, arousal),
            },
        },
    )


def cluster_report(clusters: EmotionClusters) -> dict[str, Any]:
    """What the clusters say, for people: centroids in seconds and MIDI numbers."""
    centroids = clusters.musical_centroids()
    named = {"happy": clusters.happy, "sad": 1 - clusters.happy}
    return {
        "window": clusters.window,
        "durations": clusters.durations,
        "sizes": {name: clusters.sizes[index] for name, index in named.items()},
        "centroids": {
            name: {
                feature: round(float(value), 4)
                for feature, value in zip(clusters.features, centroids[index], strict=True)
            }
            for name, index in named.items()
        },
        "rule": clusters.rule,
        "evidence": clusters.evidence,
    }


def balanced_accuracy(lean: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Mean over the two labels of the share with the right sign of ``lean``; a lean of 0 counts half.

    One label that nobody has counts as chance, .5.

    >>> balanced_accuracy(np.array([1.0, -1.0, -2.0]), np.array([1, 1, -1]))
    0.75
    """
    right = (np.sign(lean) * label + 1) / 2
    shares = [right[label == sign].mean() if (label == sign).any() else 0.5 for sign in (1, -1)]
    return float(np.mean(shares))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
