"""Plots as PNG bytes: piano rolls, loss curves, emotion clusters.

Conventions
-----------
Times in seconds, pitches as MIDI numbers with note names on the axis. Colours are Okabe and Ito's, which
colour-blind people can tell apart: blue is the seed or the sad cluster, vermilion what was composed or the
happy one. Matplotlib is used without pyplot, which keeps state between pictures and needs a screen.

Letters: **n** notes, **N** windows.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoray.notes import Notes, end

BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
DPI = 120


def piano_roll(notes: Notes, *, seed_notes: int = 0, title: str = "") -> bytes:
    """Draw a piano roll: the seed and the composed notes in two colours, loud notes darker.

    Args:
        notes: [n] sorted by onset, n > 0.
        seed_notes: the number of notes of the seed, which come first.
        title: of the picture.
    """
    figure, axes = _figure(min(24.0, max(8.0, end(notes) / 3)), 4.2)
    _roll(axes, notes, seed_notes)
    axes.set_xlabel("seconds")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)  # above, not over the notes
    axes.set_title(title, loc="left")
    return png(figure)


def piano_rolls(pieces: Mapping[str, Notes], *, seed_notes: int) -> bytes:
    """Draw piano rolls one above the other, with common axes and a title each."""
    figure, first = _figure(11.0, 2.3 * len(pieces))
    first.remove()
    rows = figure.subplots(len(pieces), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (title, notes) in zip(rows, pieces.items(), strict=True):
        _roll(_plain(axes), notes, seed_notes)
        axes.set_title(title, loc="left")
    together = np.concatenate(list(pieces.values()))
    rows[-1].set_xlim(0, end(together) * 1.01)
    rows[-1].set_ylim(int(together["pitch"].min()) - 3, int(together["pitch"].max()) + 3)
    rows[-1].set_xlabel("seconds")
    return png(figure)


def _roll(axes: Any, notes: Notes, seed_notes: int) -> None:
    """Bars of a piece, lines at its octaves and where the seed ends."""
    parts = (("seed", BLUE, notes[:seed_notes]), ("composed", VERMILION, notes[seed_notes:]))
    for name, colour, part in parts:
        if len(part):
            _bars(axes, part, colour, f"{name}, {len(part)} notes")
    low, high = int(notes["pitch"].min()) - 3, int(notes["pitch"].max()) + 3
    axes.set_ylim(low, high)
    axes.set_xlim(0, end(notes) * 1.01)
    octaves = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
    axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])
    for pitch in octaves:
        axes.axhline(pitch - 0.5, color="#dddddd", linewidth=0.8, zorder=0)
    if 0 < seed_notes < len(notes):
        axes.axvline(notes["onset"][seed_notes], color=GREY, linewidth=1, linestyle=":")


def loss_curves(epochs: Sequence[Mapping[str, float]]) -> bytes:
    """Draw training and validation loss, and nats of each part, by epoch; a missing key leaves a gap."""
    figure, left, right = two_axes(10.0, 4.0)
    number = [epoch.get("epoch", index + 1) for index, epoch in enumerate(epochs)]
    curves = (
        (left, "train_loss", "training", GREY),
        (left, "validation_loss", "validation", BLUE),
        (right, "validation_pitch_nll", "validation", VERMILION),
        (right, "validation_pitch_nats", "pitch", VERMILION),
        (right, "validation_step_nats", "step", BLUE),
        (right, "validation_duration_nats", "duration", GREY),
        (right, "validation_velocity_nats", "velocity", GREEN),
    )
    for axes, key, name, colour in curves:
        if axes is right and not any(key in epoch for epoch in epochs):
            continue  # a preset has some of the parts
        axes.plot(number, [epoch.get(key, np.nan) for epoch in epochs], "o-", ms=3, color=colour, label=name)
    for axes, label in ((left, "loss"), (right, "nats a note")):
        axes.set_xlabel("epoch")
        axes.set_title(label, loc="left")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    return png(figure)


def cluster_picture(
    features: NDArray[np.float64],
    cluster: NDArray[np.int64],
    centroids: Sequence[Sequence[float]],
    features_names: Sequence[str],
    cluster_names: Sequence[str],
) -> bytes:
    """Draw windows in their first two principal components, and the differences of the centroids.

    Args:
        features: [N, 9] standardised.
        cluster: [N] the nearest centroid of each, 0 or 1.
        centroids: [2, 9] standardised.
        features_names: of the 9 columns.
        cluster_names: of the two clusters; one of them ``happy``.
    """
    figure, left, right = two_axes(12.0, 4.8)
    middle = features.mean(axis=0)
    plane = np.linalg.svd(features - middle, full_matrices=False)[2][:2]
    points, centres = (features - middle) @ plane.T, (np.array(centroids) - middle) @ plane.T
    colours = [VERMILION if name == "happy" else BLUE for name in cluster_names]
    size = float(np.clip(8_000 / max(len(points), 1), 4, 40))  # larger points for fewer windows
    for index, (name, colour) in enumerate(zip(cluster_names, colours, strict=True)):
        mine = points[cluster == index]
        left.scatter(*mine.T, s=size, alpha=0.35, color=colour, linewidths=0, label=name, rasterized=True)
        left.scatter(*centres[index], s=140, marker="X", color=colour, edgecolors="black", zorder=3)
    low, high = np.quantile(points, [0.002, 0.998], axis=0)
    left.set_xlim(low[0], high[0])
    left.set_ylim(low[1], high[1])
    left.set_xlabel("first principal component")
    left.set_ylabel("second")
    legend = left.legend(frameon=False, markerscale=8 / size**0.5)
    for handle in legend.legend_handles:
        handle.set_alpha(1)
    left.set_title("windows of notes, and the two centroids", loc="left")
    happy = list(cluster_names).index("happy")
    apart = np.array(centroids[happy]) - np.array(centroids[1 - happy])
    right.barh(range(len(apart)), apart, color=[VERMILION if value > 0 else BLUE for value in apart])
    right.set_yticks(range(len(apart)), [name.replace("_", " ") for name in features_names])
    right.invert_yaxis()
    right.axvline(0, color="black", linewidth=0.8)
    right.set_xlabel("happy centroid less sad centroid, standard deviations")
    return png(figure)


def _bars(axes: Any, notes: Notes, colour: str, label: str) -> None:
    from matplotlib.colors import to_rgba

    shade = 0.35 + 0.65 * notes["velocity"].astype(float) / 127
    axes.barh(
        notes["pitch"].astype(float),
        notes["duration"].astype(float),
        left=notes["onset"],
        height=0.9,
        color=[to_rgba(colour, alpha) for alpha in shade],
        edgecolor=to_rgba(colour, 1),
        linewidth=0.4,
        label=label,
    )


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, _plain(figure.add_subplot())


def two_axes(width: float, height: float) -> tuple[Any, Any, Any]:
    """A figure of so many inches, and two axes side by side."""
    figure, first = _figure(width, height)
    first.remove()
    left, right = figure.subplots(1, 2)
    return figure, _plain(left), _plain(right)


def _plain(axes: Any) -> Any:
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def png(figure: Any) -> bytes:
    """A figure as a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
