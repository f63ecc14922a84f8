"""How hard the emotion score pulls: the largest change of a pitch's odds, over windows of a corpus.

    python benchmarks/guidance.py CORPUS [--checkpoint DIR]

For each guidance mode, the odds of the best-scored key of the piano against the worst-scored one, beside mode
`none` (a factor of 1), at the predicted step and duration; median and largest over test windows.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from emoray.compose.guidance import OFF_KEYBOARD, candidate_scores, prescribed_temperature
from emoray.config import SeedGuidance
from emoray.dataset import corpus
from emoray.dataset.windows import flatten, window_starts, windows_at
from emoray.model.checkpoint import load_checkpoint


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    arguments = parser.parse_args()
    checkpoint, guidance = load_checkpoint(arguments.checkpoint), SeedGuidance()
    table, lengths = flatten([notes for _, notes in corpus.read_pieces(arguments.corpus, "test")])
    starts = window_starts(lengths, checkpoint.preset.window)
    x, _ = windows_at(table, starts[:: max(1, len(starts) // 2_000)], checkpoint.preset.window)
    with torch.inference_mode():
        prediction = checkpoint.network(torch.from_numpy(x))
    step, duration = (np.maximum(part.numpy(), 0.01) for part in (prediction.step, prediction.duration))
    happy = np.ones(len(x))
    score = candidate_scores(x.astype(np.float64), step, duration, happy, checkpoint.clusters)[
        :, ~OFF_KEYBOARD
    ]
    spread = score.max(axis=1) - score.min(axis=1)
    for mode in ("seed", "seed-tempered"):
        odds = np.exp(guidance.alpha * spread / prescribed_temperature(mode, guidance))
        print(f"{mode:14} odds x {np.median(odds):.3f} in the median, x {odds.max():.3f} at most")
    print(f"({len(x)} windows)")


if __name__ == "__main__":
    main()
