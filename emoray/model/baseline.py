"""The network: a window of notes to all that is known of the next one.

Conventions
-----------
The original system's network: one LSTM and three linear heads, on (pitch / 128, step, duration) as
``dataset/windows.py`` makes them. Heads are linear: a rectified pitch head cannot learn, and rectified
time heads fall to zero for good.

Letters: **W** windows (rows of a batch), **T** notes of context.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from emoray.dataset.windows import COLUMNS
from emoray.model.matrix import Matrix, matrix_of
from emoray.notes import N_PITCHES


class Prediction(NamedTuple):
    """All the network says of the next note."""

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
        """[W, T, 3] model units to what the LSTM makes of each window, [W, hidden]."""
        last: Tensor = self.lstm(x)[0][:, -1]
        return last

    def heads(self, summary: Tensor) -> Prediction:
        """[W, hidden] to a prediction."""
        return Prediction(self.pitch(summary), self.step(summary)[:, 0], self.duration(summary)[:, 0])

    @torch.inference_mode()
    def predict_rows(self, x: Tensor) -> Prediction:
        """``forward`` of a prepared network, whose rows have the same bits in any batch on a CPU.

        The LSTM gives a row the same bits at every batch size by itself.
        """
        assert self.all_heads is not None, "prepare the network first"
        found = self.all_heads(self.summary(x))
        return Prediction(found[:, :N_PITCHES], found[:, N_PITCHES], found[:, N_PITCHES + 1])
