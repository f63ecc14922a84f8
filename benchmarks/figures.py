"""Figures: the results of a benchmark as JSON, with the machine and the versions."""

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Cores that this process may use."""


def options(text: str) -> argparse.ArgumentParser:
    """A parser with the benchmark's docstring as its help, and ``--json``."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return parser


def write_figures(figures: dict[str, object], path: Path | None) -> None:
    """Write the figures, if a file was asked for, with the machine and the versions."""
    if path is None:
        return
    on = {
        "cores": CORES,
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("emoray", "ray", "torch")},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"on": on, **figures}, indent=2) + "\n")
