"""Accuracy and speed of the face reader on a folder of labelled pictures.

    python benchmarks/faces.py FOLDER [--backend auto|deepface|fer-mini] [--weights HOME]

FOLDER holds ``labels.csv`` with the columns ``file`` and ``expected`` (angry, disgust, fear, happy, sad,
surprise or neutral). If DeepFace's weights are installed, ``DeepFace.analyze`` is timed on the same pictures,
one by one. Times are the process's CPU seconds on one core, the best of three runs.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch
if hasattr(os, "sched_setaffinity"):  # ONNX Runtime starts a thread for each core it may use
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

from emoray.config import Limits
from emoray.emotion import Evidence
from emoray.readers import deepface_weights, face
from emoray.readers.pictures import decode_picture

WANTED = {"happy": 1, "sad": -1}


def main() -> None:
    """Read the folder, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backend", default="auto", choices=face.FACE_BACKENDS)
    parser.add_argument("--weights", type=Path, help="DeepFace's home folder")
    options = parser.parse_args()
    with (options.folder / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    pictures = [(options.folder / row["file"]).read_bytes() for row in rows]
    expected = [row["expected"] for row in rows]
    reader = face.FaceReader(options.backend, weights=options.weights)
    print(reader.backend)
    seconds, evidence = timed(lambda: reader.read(pictures))
    print_labels(expected, evidence)
    print(f"all pictures together: {1000 * seconds / len(pictures):.1f} ms CPU a picture")
    single, _ = timed(lambda: [reader.read([data]) for data in pictures])
    print(f"one by one: {1000 * single / len(pictures):.1f} ms CPU a picture")
    if reader.backend.startswith("deepface"):
        print_analyze_time(deepface_weights.home_folder(options.weights), pictures, seconds)


def print_labels(expected: Sequence[str], evidence: Sequence[Evidence]) -> None:
    """What each kind of picture was taken for, and how many labels of happy and sad are right."""
    print(f"\n{'expected':10}{'happy':>7}{'sad':>7}{'abstains':>10}{'no face':>9}{'other':>7}")
    for kind in sorted(set(expected)):
        seen = Counter(outcome(each) for want, each in zip(expected, evidence, strict=True) if want == kind)
        happy, sad, unsure = seen["1"], seen["-1"], seen["low_confidence"]
        other = seen["decode_error"] + seen["multi_face"]
        print(f"{kind:10}{happy:7}{sad:7}{unsure:10}{seen['no_face']:9}{other:7}")
    pairs = [
        (WANTED[want], each.label) for want, each in zip(expected, evidence, strict=True) if want in WANTED
    ]
    given = [(want, label) for want, label in pairs if label]
    right = sum(want == label for want, label in given)
    print(f"\nhappy or sad: {len(pairs)} pictures, {len(given)} labels, {right} of them right\n")


def outcome(evidence: Evidence) -> str:
    """The label, or the status if there is none."""
    return str(evidence.label) if evidence.label else evidence.status


def print_analyze_time(home: Path, pictures: Sequence[bytes], reader_seconds: float) -> None:
    """DeepFace's own loop over the same pictures, with the same weights and the same kind of detector."""
    os.environ["DEEPFACE_HOME"] = str(home)
    from deepface import DeepFace

    quiet: dict[str, Any] = {"actions": ["emotion"], "enforce_detection": False, "silent": True}
    loop, _ = timed(lambda: [DeepFace.analyze(decode_picture(data, Limits()), **quiet) for data in pictures])
    print(f"DeepFace.analyze in a loop: {1000 * loop / len(pictures):.1f} ms CPU a picture", end=" ")
    print(f"({loop / reader_seconds:.1f} times the reader's)")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """(CPU seconds of the best of three runs, result)."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return best, result


if __name__ == "__main__":
    main()
