"""The loss of the original system, by part.

``pitch_weight`` x cross-entropy + ``step_weight`` x time loss of steps + ``duration_weight`` x time loss of
durations. The time loss is the "non-negative mse" of the tutorial that the original system builds on:
squared error, plus ten times how far a prediction lies below zero (both in seconds, mean over windows).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from emoray.config import BaselinePreset
from emoray.dataset.windows import DURATION, PITCH, STEP
from emoray.model.baseline import Prediction
from emoray.notes import N_PITCHES

NEGATIVE_PRESSURE = 10.0


def pitch_of(y: Tensor) -> Tensor:
    """[W, 3] model units to [W] MIDI numbers, int64."""
    return torch.round(y[:, PITCH] * N_PITCHES).long()


def non_negative_squared_error(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean over windows, seconds squared, with a pressure towards times of at least 0."""
    return ((predicted - true).square() + NEGATIVE_PRESSURE * functional.relu(-predicted)).mean()


def losses(prediction: Prediction, y: Tensor, preset: BaselinePreset) -> dict[str, Tensor]:
    """Parts and their weighted sum ``loss``; ``pitch_nll`` is in nats a note.

    Args:
        prediction: of W windows.
        y: [W, 3] the notes that followed, in model units.
        preset: its three weights.
    """
    pitch = functional.cross_entropy(prediction.logits, pitch_of(y))
    step = non_negative_squared_error(prediction.step, y[:, STEP])
    duration = non_negative_squared_error(prediction.duration, y[:, DURATION])
    total = preset.pitch_weight * pitch + preset.step_weight * step + preset.duration_weight * duration
    return {"loss": total, "pitch_nll": pitch, "step_loss": step, "duration_loss": duration}
