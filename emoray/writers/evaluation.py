"""Evaluation reports: the figures of ``emoray evaluate`` as tables, as a page in Markdown and as pictures.

Conventions
-----------
A report is the dictionary that ``emoray evaluate --json`` writes. These functions show what is in it and
compute nothing. A table is its heads and its rows, as text. Colours are those of ``writers/plot.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emoray.writers.plot import BLUE, GREEN, GREY, VERMILION, png, two_axes

Table = tuple[list[str], list[list[str]]]
"""Heads and rows."""
LIKELIHOOD_MEASURES = {
    "pitch_nll": "pitch",
    "step_nll": "step",
    "duration_nll": "duration",
    "total_nll": "total",
    "velocity_nll": "velocity",
    "pitch_top1": "top-1 accuracy",
    "pitch_top5": "top-5 accuracy",
}
REFERENCE_MODELS = ("unigram_recent", "bigram", "repeat_last", "unigram", "uniform")
CONTROL_COLUMNS = {
    "valence difference": "mean of the valence judge's probability, happy less sad, with a 95 % interval",
    "valence effect": "effect size: that difference in its standard deviations over seeds (Cohen's d)",
    "valence accuracy": "accuracy of the valence judge, threshold at the unguided median; .5 is chance",
    "arousal difference": "as of the valence judge",
    "arousal effect": "as of the valence judge",
    "arousal accuracy": "as of the valence judge",
    "pitches only": "share of pairs that a judge of the pitches alone puts in the right order; .5 is chance",
    "quadrants": "share of pieces whose valence and arousal are both on the requested side; .25 is chance",
}
COST_COLUMNS = {
    "NLL increase": "rise of the unconditional negative log-likelihood over unguided music, nats a note; "
    "the larger of happy and sad",
    "KL divergence": "of the guided from the unguided distributions, nats a note",
    "entropy": "median entropy of the pitch classes, bits",
    "distinct pitches": "median number of distinct pitches in 100 notes",
    "overlap ratio": "mean overlap with real music over the overlap of two halves of real music; 1 is alike",
}


def likelihood_table(report: dict[str, Any]) -> Table:
    """Negative log-likelihoods of the network, of other networks, and of the reference models."""
    own = report["likelihood"]
    references = own["reference_models"]
    models = [(f"{report['preset']} preset", own)]
    models += [(f"{name} preset", row) for name, row in report.get("compared_with", {}).items()]
    models += [(name, references[name]) for name in REFERENCE_MODELS]
    rows = [
        [name, *(f"{row[key]:.3f}" if key in row else "" for key in LIKELIHOOD_MEASURES)]
        for name, row in models
    ]
    with_pedal = f"{references['unigram']['duration_with_pedal_nll']:.3f}"
    rows.append(["unigram, with the pedal", "", "", with_pedal, "", "", "", ""])
    return ["nats a note", *LIKELIHOOD_MEASURES.values()], rows


def control_table(report: dict[str, Any]) -> Table:
    """The effect of each case on the judges, and of the positive control on real music."""

    def row(name: str, case: dict[str, Any]) -> list[str]:
        cells = [name]
        for judge in ("valence", "arousal"):
            low, high = case[judge]["confidence_interval"]
            cells += [
                f"{case[judge]['difference']:.2f} ({low:.2f} to {high:.2f})",
                f"{case[judge]['effect_size']:.2f}",
                f"{case[judge]['centred_accuracy']:.2f}",
            ]
        cells.append(f"{case['valence_from_pitches']['paired_accuracy']:.2f}")
        cells.append(f"{case['quadrant_accuracy']:.2f}" if "quadrant_accuracy" in case else "")
        return cells

    rows = [row(name, case) for name, case in report["cases"].items()]
    rows.append(row("positive control", report["positive_control"]))
    return ["guidance", *CONTROL_COLUMNS], rows


def cost_table(report: dict[str, Any]) -> Table:
    """What guidance costs: likelihood, divergence, variety and similarity to real music."""

    def row(name: str, part: dict[str, Any], *cells: str) -> list[str]:
        variety = part["variety"]
        return [
            name, *cells[:2], f"{variety['pitch_class_entropy']:.2f}", f"{variety['distinct_pitches']:.1f}",
            *cells[2:],
        ]  # fmt: skip

    rows = [
        row(
            name, case, f"{case['nll_increase']['max']:.2f}", f"{case['kl_divergence']:.2f}",
            f"{case['overlap_ratio']:.2f}",
        )
        for name, case in report["cases"].items()
    ]  # fmt: skip
    unguided = report["unguided"]
    ratio = unguided["statistics"]["mean"]["overlap_ratio"]
    rows.append(row("none", unguided, "0.00", f"{unguided['kl_divergence']:.2f}", f"{ratio:.2f}"))
    rows.append(row("real music", report["real"], "", "", ""))
    return ["guidance", *COST_COLUMNS], rows


def statistics_table(report: dict[str, Any], case: str) -> Table:
    """Each statistic of the music of a case beside real music."""
    found = report["cases"][case]["statistics"]
    rows = []
    for name, row in found.items():
        if name == "mean":
            continue
        keys = ("composed_median", "real_median", "overlap", "reference_overlap")
        cells = [f"{row[key]:.3f}" if key in row else "" for key in keys]
        if "composed" in row:  # an artefact
            cells[:2] = [f"{row['composed']:.4f}", f"{row['real']:.4f}"]
        rows.append([name.replace("_", " "), *cells])
    mean = found["mean"]
    rows.append(["mean", "", "", f"{mean['overlap']:.3f}", f"{mean['reference_overlap']:.3f}"])
    return [case, "composed", "real", "overlap", "overlap of real halves"], rows


def memorisation_line(report: dict[str, Any]) -> str:
    """The longest sequences shared with a training piece, in a sentence."""
    found = (f"{name} {row['median']:.0f} ({row['max']:.0f})" for name, row in report["memorisation"].items())
    return f"Longest sequence of notes shared with a training piece, median (maximum): {'; '.join(found)}"


def report_page(report: dict[str, Any]) -> str:
    """The whole report in Markdown, beside the pictures of ``evaluation_pictures``."""
    notes = f"{report['pieces']} {report['split']} pieces, {report['likelihood']['notes']:,} notes"
    lines = [
        "# Evaluation", "",
        f"Checkpoint {report['checkpoint']}, preset {report['preset']}; {notes}.", "",
        "## Likelihood", "",
        "Negative log-likelihood in nats a note; less is better. Times are on one grid of 10 ms cells for",
        "every model. Durations include the sustain pedal for the expressive preset, whose reference is",
        "`unigram, with the pedal`, and are key-down for the other models.", "",
        as_markdown(*likelihood_table(report)), "",
        "![likelihood](likelihood.png)",
    ]  # fmt: skip
    if control := report.get("control"):
        lines += _control_page(control)
    return "\n".join(lines) + "\n"


def _control_page(report: dict[str, Any]) -> list[str]:
    accuracy = ", ".join(
        f"{name} {value:.2f}" for name, value in report["judges"]["cross_validated_accuracy"].items()
    )
    default = report["cases"][report["default_case"]]
    permuted = ", ".join(
        f"{name} {default[name]['permuted_labels']:.2f}"
        for name in report["judges"]["cross_validated_accuracy"]
    )
    shifts = ", ".join(
        f"{name.replace('_', ' ')} {value:+.2f}" for name, value in default["feature_shifts"].items()
    )
    lines = [
        "", "## Control", "",
        f"Each case composes {report['composed_notes']} notes from each of {report['seeds']} seeds, once",
        "towards happy and once towards sad, with the same random seeds. The judges were fitted on labelled",
        f"phrases that guidance does not use; their cross-validated accuracy is {accuracy}.",
        "The positive control is real music against the same music in minor and 1.5 times slower.", "",
        as_markdown(*control_table(report)), "",
        *(f"* *{name}*: {meaning}." for name, meaning in CONTROL_COLUMNS.items()), "",
        f"Judges that were fitted on permuted labels find these differences in {report['default_case']}:",
        f"{permuted}.", "",
        f"Differences of the features in {report['default_case']}, happy less sad, in standard deviations of",
        f"the labelled phrases: {shifts}.", "",
        "## Cost", "",
        as_markdown(*cost_table(report)), "",
        *(f"* *{name}*: {meaning}." for name, meaning in COST_COLUMNS.items()), "",
        "![control](control.png)", "",
        "## Similarity to real music", "",
        "The overlap compares the distances within the composed pieces with those between composed and real",
        "pieces (mgeval); the overlap of two halves of the real pieces is its reference.", "",
        as_markdown(*statistics_table(report, report["default_case"])), "",
        "![statistics](statistics.png)",
    ]  # fmt: skip
    if "memorisation" in report:
        lines += ["", "## Memorisation", "", f"{memorisation_line(report)}."]
    return lines


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
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
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


def evaluation_pictures(report: dict[str, Any]) -> dict[str, bytes]:
    """The pictures of a report as PNG bytes, by name."""
    pictures = {"likelihood": likelihood_picture(report)}
    if "control" in report:
        pictures |= {
            "control": control_picture(report["control"]),
            "statistics": statistics_picture(report["control"]),
        }
    return pictures


def likelihood_picture(report: dict[str, Any]) -> bytes:
    """Negative log-likelihood of each model: of the pitch, and of pitch + step + duration."""
    figure, left, right = two_axes(11.0, 3.6)
    own = report["likelihood"]
    rows = [(f"{report['preset']} preset", own, VERMILION)]
    rows += [(f"{name} preset", row, BLUE) for name, row in report.get("compared_with", {}).items()]
    rows += [
        (name.replace("_", " "), own["reference_models"][name], GREY)
        for name in ("unigram_recent", "bigram", "unigram")
    ]
    for axes, key, title in ((left, "pitch_nll", "pitch"), (right, "total_nll", "pitch + step + duration")):
        shown = [(name, row[key], colour) for name, row, colour in rows if key in row]
        names, values, colours = zip(*shown, strict=True)
        bars = axes.barh(names, values, color=colours)
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.invert_yaxis()
        axes.set_xlim(0, max(values) * 1.12)
        axes.set_xlabel("negative log-likelihood, nats a note")
        axes.set_title(title, loc="left")
    return png(figure)


def control_picture(report: dict[str, Any]) -> bytes:
    """Control of each case against its cost, and control of the default mode by strength."""
    figure, left, right = two_axes(12.0, 4.6)
    mode = report["default_case"].split()[0]
    for name, case in report["cases"].items():
        valence, cost = case["valence"], case["nll_increase"]["max"]
        low, high = valence["confidence_interval"]
        middle = valence["difference"]
        ours = name.startswith(f"{mode} ")
        left.errorbar(
            cost, middle, yerr=[[middle - low], [high - middle]], fmt="o", color=VERMILION if ours else BLUE
        )
        left.annotate(name, (cost, middle), xytext=(6, 4), textcoords="offset points", fontsize=8)
    left.axhline(0, color=GREY, linewidth=0.8)
    left.set_xlabel("rise of the negative log-likelihood, nats a note")
    left.set_ylabel("valence judge, happy less sad")
    left.set_title("control and its cost", loc="left")
    by_strength = sorted(
        (float(name.split()[1]), case)
        for name, case in report["cases"].items() if name.startswith(f"{mode} ")
    )  # fmt: skip
    for judge, colour in (("valence", VERMILION), ("arousal", BLUE), ("valence_from_pitches", GREEN)):
        strengths = [0.0, *(strength for strength, _ in by_strength)]
        middles = [0.0, *(case[judge]["difference"] for _, case in by_strength)]
        lows = [0.0, *(case[judge]["confidence_interval"][0] for _, case in by_strength)]
        highs = [0.0, *(case[judge]["confidence_interval"][1] for _, case in by_strength)]
        right.plot(strengths, middles, "o-", color=colour, label=judge.replace("_", " "))
        right.fill_between(strengths, lows, highs, color=colour, alpha=0.15, linewidth=0)
    right.set_xlabel("strength")
    right.set_title(f"{mode}: happy less sad by strength, with 95 % intervals", loc="left")
    right.legend(frameon=False)
    return png(figure)


def statistics_picture(report: dict[str, Any]) -> bytes:
    """Overlap of each statistic with real music, without and with guidance."""
    figure, left, right = two_axes(12.0, 4.6)
    for axes, name, found in (
        (left, "unguided", report["unguided"]["statistics"]),
        (right, report["default_case"], report["cases"][report["default_case"]]["statistics"]),
    ):
        rows = [(key, row) for key, row in found.items() if "overlap" in row and key != "mean"]
        positions = range(len(rows))
        axes.barh(
            positions,
            [row["reference_overlap"] for _, row in rows],
            color="#dddddd",
            label="two halves of real music",
        )
        axes.barh(positions, [row["overlap"] for _, row in rows], height=0.5, color=VERMILION, label=name)
        axes.set_yticks(positions, [key.replace("_", " ") for key, _ in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("overlapped area with real music")
        axes.set_title(f"{name}: {found['mean']['overlap_ratio']:.2f} of the reference", loc="left")
        axes.legend(frameon=False, loc="lower left")
    return png(figure)
