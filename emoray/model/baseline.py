"""The baseline network: a window of notes to a prediction of the next one, and the loss it is trained with.

Conventions
-----------
The original system's network: one LSTM and three linear heads, on (pitch / 128, step, duration) as
``dataset/windows.py`` makes them. Heads are linear: a rectified pitch head cannot learn, and rectified
time heads fall to zero for good.

The loss is ``pitch_weight`` x cross-entropy + ``step_weight`` x time loss of steps + ``duration_weight`` x
time loss of durations. The time loss is the "non-negative mse" of the tutorial that the original system
builds on: squared error, plus ten times how far a prediction lies below zero (both in seconds, mean over
windows).

Letters: **W** windows (rows of a batch), **T** notes of context.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from emoray.config import BaselinePreset
from emoray.dataset.windows import COLUMNS, DURATION, PITCH, STEP
from emoray.model.matrix import Matrix, matrix_of
from emoray.notes import N_PITCHES

NEGATIVE_PRESSURE = 10.0
"""Weight of how far a predicted time lies below zero."""


class Prediction(NamedTuple):
    """What the network predicts of the next note."""

    logits: Tensor
    """[W, 128]; a softmax turns them into the chance of each pitch."""
    step: Tensor
    """[W] seconds; may be negative."""
    duration: Tensor
    """[W] seconds; may be negative."""


class BaselineNetwork(nn.Module):
    """LSTM, then a linear head each for pitch, step and duration."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(len(COLUMNS), hidden, batch_first=True)
        self.pitch = nn.Linear(hidden, N_PITCHES)
        self.step = nn.Linear(hidden, 1)
        self.duration = nn.Linear(hidden, 1)
        self.all_heads: Matrix | None = None

    def prepared(self) -> Self:
        """This network, ready to compose with the weights that it has now, where it is now."""
        heads = (self.pitch, self.step, self.duration)
        self.all_heads = matrix_of(
            torch.cat([head.weight for head in heads]), torch.cat([head.bias for head in heads]), exact=True
        )
        return self

    def forward(self, x: Tensor) -> Prediction:
        """[W, T, 3] model units to a prediction of the note after each window."""
        return self.heads(self.summary(x))

    def summary(self, x: Tensor) -> Tensor:
        """[W, T, 3] model units to the LSTM's last output for each window, [W, hidden]."""
        last: Tensor = self.lstm(x)[0][:, -1]
        return last

    def heads(self, summary: Tensor) -> Prediction:
        """[W, hidden] to a prediction."""
        return Prediction(self.pitch(summary), self.step(summary)[:, 0], self.duration(summary)[:, 0])

    @torch.inference_mode()
    def predict_rows(self, x: Tensor) -> Prediction:
        """``forward`` of a prepared network on a CPU, whose rows have the same bits in any batch.

        On a CPU torch's LSTM gives a row the same bits at every batch size by itself.
        """
        assert self.all_heads is not None, "prepare the network first"
        found = self.all_heads(self.summary(x))
        return Prediction(found[:, :N_PITCHES], found[:, N_PITCHES], found[:, N_PITCHES + 1])


def pitch_of(y: Tensor) -> Tensor:
    """[W, 3] model units to [W] MIDI numbers, int64."""
    return torch.round(y[:, PITCH] * N_PITCHES).long()


def non_negative_squared_error(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean over windows, seconds squared, with a pressure towards times of at least 0."""
    return ((predicted - true).square() + NEGATIVE_PRESSURE * functional.relu(-predicted)).mean()


def losses(prediction: Prediction, y: Tensor, preset: BaselinePreset) -> dict[str, Tensor]:
    """The original system's loss: its parts and their weighted sum ``loss``; ``pitch_nll`` in nats a note.

    Args:
        prediction: that of W windows.
        y: [W, 3] the notes that followed, in model units.
        preset: the weights of the three parts.
    """
    pitch = functional.cross_entropy(prediction.logits, pitch_of(y))
    step = non_negative_squared_error(prediction.step, y[:, STEP])
    duration = non_negative_squared_error(prediction.duration, y[:, DURATION])
    total = preset.pitch_weight * pitch + preset.step_weight * step + preset.duration_weight * duration
    return {"loss": total, "pitch_nll": pitch, "step_loss": step, "duration_loss": duration}
