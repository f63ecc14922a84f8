"""Tables: the figures of an evaluation as lines for a terminal and as Markdown for a document.

Conventions
-----------
Reports are the dictionaries that ``pipeline/evaluation.py`` returns; a table shows
what is in them and computes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CONTROL_COLUMNS = (
    "guidance", "valence", "95 %", "arousal", "95 %", "from pitches", "centred v", "centred a", "quadrants",
    "entropy", "distinct", "extra nats", "KL", "overlap",
)  # fmt: skip


def likelihood_rows(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: the network, those it is set beside, and rules that count."""
    measures = (
        "pitch_nll", "step_nll", "duration_nll", "total_nll", "velocity_nll", "pitch_top1", "pitch_top5",
    )  # fmt: skip
    own = report["likelihood"]
    models = [(f"{report['preset']} preset", own)]
    models += [(f"{name} preset", row) for name, row in report.get("beside", {}).items()]
    models += [
        (name, own[name]) for name in ("unigram_recent", "bigram", "repeat_last", "unigram", "uniform")
    ]
    rows = [[name, *(f"{row[key]:.3f}" if key in row else "" for key in measures)] for name, row in models]
    rows.append(["unigram, with the pedal", "", "", f"{own['unigram']['sounding_nll']:.3f}", "", "", "", ""])
    return ["nats a note", *(name.removesuffix("_nll").replace("_", " ") for name in measures)], rows


def control_rows(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: a row each for every case, then the rule of known effect on real music."""

    def row(name: str, case: dict[str, Any]) -> list[str]:
        valence, arousal, pitches = (case[judge] for judge in ("valence", "arousal", "valence_from_pitches"))
        cells = [name]
        for one in (valence, arousal):
            cells += [f"{one['difference']:.2f}", "{:.2f}..{:.2f}".format(*one["interval"])]
        cells += [f"{one:.2f}" for one in (
            pitches["paired_accuracy"], valence["centred_accuracy"], arousal["centred_accuracy"],
        )]  # fmt: skip
        cells.append(f"{case['quadrants']:.2f}" if "quadrants" in case else "")
        cells += [
            f"{case['variety']['pitch_class_entropy']:.2f}", f"{case['variety']['distinct_pitches']:.1f}"
        ]  # fmt: skip
        if "extra_nats" in case:
            cells += [f"{case['extra_nats']['worse']:.2f}", f"{case['divergence']:.2f}"]
            cells.append(f"{case['overlap_share']:.2f}")
        return cells + [""] * (len(CONTROL_COLUMNS) - len(cells))

    rows = [row(name, case) for name, case in report["cases"].items()]
    for name, part in (("none", report["unguided"]), ("real music", report["real"])):
        spread = part["variety"]
        cells = [""] * len(CONTROL_COLUMNS)
        cells[0], cells[9] = name, f"{spread['pitch_class_entropy']:.2f}"
        cells[10] = f"{spread['distinct_pitches']:.1f}"
        if "statistics" in part:
            cells[11:14] = ["0.00", f"{part['divergence']:.2f}", f"{part['statistics']['all']['share']:.2f}"]
        rows.append(cells)
    return list(CONTROL_COLUMNS), [*rows, row("rule on real music", report["rule"])]


def statistics_rows(report: dict[str, Any], case: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: each statistic of a case beside real music."""
    found = report["cases"][case]["statistics"]
    rows = []
    for name, row in found.items():
        if name == "all":
            continue
        cells = [f"{row[key]:.3f}" if key in row else "" for key in ("median", "real", "overlap", "ceiling")]
        cells[0] = f"{row['found']:.4f}" if "found" in row else cells[0]
        rows.append([name.replace("_", " "), *cells])
    total = found["all"]
    rows.append(["mean overlap", "", "", f"{total['overlap']:.3f}", f"{total['ceiling']:.3f}"])
    return [case, "composed", "real", "overlap", "real against real"], rows


def remembered(report: dict[str, Any]) -> str:
    """What is shared with training, in a line."""
    found = (
        f"{name} {row['median']:.0f} ({row['most']:.0f})" for name, row in report["memorisation"].items()
    )
    return f"longest stretch shared with a training piece, notes, median (most): {'; '.join(found)}"


def page(report: dict[str, Any]) -> str:
    """The whole report as a page in Markdown, with the pictures of ``writers/figures.py`` beside it."""
    notes = f"{report['pieces']} {report['split']} pieces, {report['likelihood']['notes']:,} notes"
    lines = [
        "# Evaluation", "",
        f"Checkpoint {report['checkpoint']}, preset {report['preset']}; {notes}.", "",
        "## Likelihood", "",
        "Nats a note; times on one grid of 10 ms cells for every model. Durations are sounding ones for the",
        "expressive preset and key-down for the others: compare each with counting on its own kind.", "",
        as_markdown(*likelihood_rows(report)), "",
        "![likelihood](likelihood.png)",
    ]  # fmt: skip
    if control := report.get("control"):
        accuracy = ", ".join(f"{name} {value:.2f}" for name, value in control["judges"]["accuracy"].items())
        lines += [
            "", "## Emotion that is heard", "",
            f"{control['seeds']} seeds, {control['composed']} composed notes, happy less sad with the same",
            "random seeds; differences of a judge's chance with 95 % intervals over seeds. Judges are fitted",
            f"on phrases that guidance never saw; their own cross-validated accuracy: {accuracy}.", "",
            as_markdown(*control_rows(control)), "",
            "![control](control.png)", "",
            "What the same judges find when their labels are shuffled before fitting, happy less sad: "
            + ", ".join(
                f"{name} {control['cases'][control['default']][name]['shuffled_labels']:.2f}"
                for name in control["judges"]["accuracy"]
            ) + ".", "",
            "Shift of each feature, happy less sad, in standard deviations of the labelled phrases: "
            + ", ".join(
                f"{name.replace('_', ' ')} {value:+.2f}"
                for name, value in control["cases"][control["default"]]["shifts"].items()
            ) + ".", "",
            "## Beside real music", "",
            as_markdown(*statistics_rows(control, control["default"])), "",
            "![statistics](statistics.png)",
        ]  # fmt: skip
        if "memorisation" in control:
            lines += ["", "## Memory", "", remembered(control).capitalize() + "."]
    return "\n".join(lines) + "\n"


def as_text(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal: the first column to the left, the others to the right.

    >>> print(as_text(["a", "b"], [["one", "1.0"], ["three", ""]]))
    a        b
    one    1.0
    three
    """
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *rows)
    ]
    return "\n".join(lines)


def as_markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a document.

    >>> print(as_markdown(["a", "b"], [["one", "1.0"]]))
    | a | b |
    |---|---|
    | one | 1.0 |
    """
    ruled = [heads, ["---"] * len(heads), *rows]
    lines = ["| " + " | ".join(row) + " |" for row in ruled]
    lines[1] = "|" + "---|" * len(heads)
    return "\n".join(lines)
