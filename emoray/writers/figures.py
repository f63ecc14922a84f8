"""Figures: the pictures of an evaluation, as PNG bytes.

Conventions
-----------
They draw what is in the report of ``emoray evaluate`` and compute nothing. Colours as in ``writers/plot.py``.
"""

from __future__ import annotations

from typing import Any

from emoray.writers.plot import BLUE, GREEN, GREY, VERMILION, png, two_axes


def evaluation_pictures(report: dict[str, Any]) -> dict[str, bytes]:
    """The pictures that a report has the figures for, by name."""
    pictures = {"likelihood": likelihood_picture(report)}
    if "control" in report:
        pictures |= {
            "control": control_picture(report["control"]),
            "statistics": statistics_picture(report["control"]),
        }
    return pictures


def likelihood_picture(report: dict[str, Any]) -> bytes:
    """Nats a note of each model and each counting rule: pitch alone, and pitch + step + duration."""
    figure, left, right = two_axes(11.0, 3.6)
    own = report["likelihood"]
    rows = [(f"{report['preset']} preset", own, VERMILION)]
    rows += [(f"{name} preset", row, BLUE) for name, row in report.get("beside", {}).items()]
    rows += [(name.replace("_", " "), own[name], GREY) for name in ("unigram_recent", "bigram", "unigram")]
    for axes, key, title in ((left, "pitch_nll", "pitch"), (right, "total_nll", "pitch + step + duration")):
        shown = [(name, row[key], colour) for name, row, colour in rows if key in row]
        names, values, colours = zip(*shown, strict=True)
        bars = axes.barh(names, values, color=colours)
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.invert_yaxis()
        axes.set_xlim(0, max(values) * 1.12)
        axes.set_xlabel("nats a note, less is better")
        axes.set_title(title, loc="left")
    return png(figure)


def control_picture(report: dict[str, Any]) -> bytes:
    """What judges hear of each case beside its cost, and the default mode by strength."""
    figure, left, right = two_axes(12.0, 4.6)
    mode = report["default"].split()[0]
    for name, case in report["cases"].items():
        valence, cost = case["valence"], case["extra_nats"]["worse"]
        low, high = valence["interval"]
        middle = valence["difference"]
        ours = name.startswith(f"{mode} ")
        left.errorbar(
            cost, middle, yerr=[[middle - low], [high - middle]], fmt="o", color=VERMILION if ours else BLUE
        )
        left.annotate(name, (cost, middle), xytext=(6, 4), textcoords="offset points", fontsize=8)
    left.axhline(0, color=GREY, linewidth=0.8)
    left.set_xlabel("extra nats a note under the unguided network")
    left.set_ylabel("P(positive), happy less sad")
    left.set_title("valence heard, and its price", loc="left")
    by_strength = sorted(
        (float(name.split()[1]), case)
        for name, case in report["cases"].items() if name.startswith(f"{mode} ")
    )  # fmt: skip
    for judge, colour in (("valence", VERMILION), ("arousal", BLUE), ("valence_from_pitches", GREEN)):
        strengths = [0.0, *(strength for strength, _ in by_strength)]
        middles = [0.0, *(case[judge]["difference"] for _, case in by_strength)]
        lows = [0.0, *(case[judge]["interval"][0] for _, case in by_strength)]
        highs = [0.0, *(case[judge]["interval"][1] for _, case in by_strength)]
        right.plot(strengths, middles, "o-", color=colour, label=judge.replace("_", " "))
        right.fill_between(strengths, lows, highs, color=colour, alpha=0.15, linewidth=0)
    right.set_xlabel("strength")
    right.set_title(f"{mode}: what is heard by strength, 95 % intervals", loc="left")
    right.legend(frameon=False)
    return png(figure)


def statistics_picture(report: dict[str, Any]) -> bytes:
    """Overlap of each statistic with real music, guided and unguided, beside real against real."""
    figure, left, right = two_axes(12.0, 4.6)
    for axes, name, found in (
        (left, "unguided", report["unguided"]["statistics"]),
        (right, report["default"], report["cases"][report["default"]]["statistics"]),
    ):
        rows = [(key, row) for key, row in found.items() if "overlap" in row and key != "all"]
        places = range(len(rows))
        axes.barh(places, [row["ceiling"] for _, row in rows], color="#dddddd", label="real against real")
        axes.barh(places, [row["overlap"] for _, row in rows], height=0.5, color=VERMILION, label=name)
        axes.set_yticks(places, [key.replace("_", " ") for key, _ in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("overlapped area with real music")
        axes.set_title(f"{name}: {found['all']['share']:.2f} of the ceiling", loc="left")
        axes.legend(frameon=False, loc="lower left")
    return png(figure)
