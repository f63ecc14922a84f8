"""Fit the judges of the evaluation: labelled phrases to `emoray/evaluate/judges.json`.

    python benchmarks/fit_judges.py LABELS

The judges are fitted on the half of the phrases that guidance does not use (`readers/annotations.py`). The
command prints the balanced accuracy of each judge, cross-validated by series, on this half and, for
comparison, on all phrases.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from emoray.evaluate.judges import (
    FEATURES_OF,
    JUDGES_FILE,
    cross_validated,
    features_of_judge,
    fit_judge,
    judge_features,
)
from emoray.readers.annotations import halves, read_labels
from emoray.readers.midi import read_midi

PERMUTATIONS = 20
FOLDS = 4


def rounded(judge):
    """A judge as JSON."""
    fields = dataclasses.asdict(judge)
    return {name: np.round(value, 4).tolist() for name, value in fields.items()}


def features_of(labels):
    """[P, 15] features of labelled phrases."""
    return np.array(
        [judge_features(read_midi(label.path.read_bytes(), subject=label.path)) for label in labels]
    )


def main():
    """Fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", type=Path)
    labels = read_labels(parser.parse_args().labels)
    _, judging = halves(labels)
    generator = np.random.default_rng(0)
    fields = {"judges": {}, "permuted": {}, "cross_validated_accuracy": {}}
    for name in FEATURES_OF:
        for some in (judging, labels):
            features = features_of_judge(features_of(some), name)
            truth = [getattr(label, name.split("_")[0]) for label in some]
            accuracy = cross_validated(features, truth, [label.series for label in some], FOLDS)
            print(f"{name:22} {len(some):3} phrases  balanced accuracy {accuracy:.3f}")
            if some is judging:
                fields["cross_validated_accuracy"][name] = round(accuracy, 3)
                fields["judges"][name] = rounded(fit_judge(features, truth))
                fields["permuted"][name] = [
                    rounded(fit_judge(features, generator.permutation(truth))) for _ in range(PERMUTATIONS)
                ]
    fields["provenance"] = f"VGMIDI, {len(judging)} phrases of the series kept for judging; coefficients only"
    JUDGES_FILE.write_text(json.dumps(fields) + "\n")


if __name__ == "__main__":
    main()
