"""Guidance in the baseline preset: the effect of the emotion score on pitches, and the variety of pitches.

    python benchmarks/guidance.py CORPUS [--checkpoint DIR]

For each guidance mode, the benchmark prints the odds of the pitch with the best emotion score against the
pitch with the worst, over those of mode `none`, at the predicted step and duration: median and maximum over
test windows. It then prints the distinct pitches in 100 composed notes and in 100 notes of the performance.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from emoray.compose.decoding import BatchDecoder
from emoray.compose.original_formulas import OFF_KEYBOARD, candidate_scores, prescribed_temperature
from emoray.config import CONDITIONED_MODES, GUIDANCE_MODES, OriginalGuidance
from emoray.dataset import corpus
from emoray.dataset.windows import flatten, window_starts, windows_at
from emoray.model.checkpoint import load_checkpoint
from emoray.model.preset import PRETRAINED
from emoray.request import Prompt

OPENINGS = 64


def spread_of_pitches(pieces, checkpoint):
    """Median distinct pitches in 100 notes after an opening of 40, by mode and as played."""
    openings = [notes for notes in pieces if len(notes) >= 140][:OPENINGS]
    composer = BatchDecoder(checkpoint)
    rows = {"as played": [notes[40:140] for notes in openings]}
    for mode in (mode for mode in GUIDANCE_MODES if mode not in CONDITIONED_MODES):
        rows[mode] = composer.compose(
            [
                Prompt(seed=notes[:40], valence=1.0, random_seed=number, guidance=mode, notes=100)
                for number, notes in enumerate(openings)
            ]
        )
    return {name: np.median([len(set(notes["pitch"])) for notes in found]) for name, found in rows.items()}


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=PRETRAINED / "baseline")
    arguments = parser.parse_args()
    checkpoint, guidance = load_checkpoint(arguments.checkpoint), OriginalGuidance()
    pieces = [notes for _, notes in corpus.read_pieces(arguments.corpus, "test")]
    table, lengths = flatten(pieces)
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
    for mode in ("original", "original-tempered"):
        odds = np.exp(guidance.alpha * spread / prescribed_temperature(mode, guidance))
        print(f"{mode:14} odds x {np.median(odds):.3f} in the median, x {odds.max():.3f} at most")
    print(f"({len(x)} windows)")
    print(f"distinct pitches in 100 notes, medians over {OPENINGS} openings:")
    for name, pitches in spread_of_pitches(pieces, checkpoint).items():
        print(f"{name:14} {pitches:.1f}")


if __name__ == "__main__":
    main()
