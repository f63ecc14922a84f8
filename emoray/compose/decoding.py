"""Decoding: prompts to note arrays, many at a time, one note each for every call of the network.

Conventions
-----------
Sequences that are done leave the batch and waiting ones join it. A prompt's notes depend on the checkpoint
and the prompt alone: its random numbers come from a generator of its own, and arithmetic is row by row. How a
network is asked for a note is the business of its decoder: ``baseline_decoder.py`` or
``expressive_decoder.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import torch

from emoray.compose.baseline_decoder import BaselineDecoder
from emoray.compose.decoder_state import Composed, DecoderState
from emoray.compose.expressive_decoder import ExpressiveDecoder
from emoray.config import CONDITIONED_MODES, BaselinePreset, ExpressivePreset, OriginalGuidance
from emoray.errors import RequestError
from emoray.model.baseline import BaselineNetwork
from emoray.model.checkpoint import Checkpoint, best_device
from emoray.model.expressive import ExpressiveNetwork
from emoray.notes import Notes
from emoray.request import Prompt


class Decoder(Protocol):
    """A running batch: the sequences that one network decodes."""

    @property
    def states(self) -> Sequence[DecoderState]:
        """The sequences that are being decoded."""
        ...

    def join(self, waiting: Sequence[tuple[int, Prompt]]) -> None:
        """Take prompts, with their places in the answer, into the batch."""
        ...

    def decode_step(self) -> None:
        """One more note for each sequence."""
        ...

    def leave(self) -> list[tuple[int, Composed]]:
        """The pieces of the sequences that are over, which leave the batch."""
        ...


class PromptDecoder(Protocol):
    """What ``BatchDecoder`` does, for whoever is given one."""

    def check(self, prompt: Prompt) -> None:
        """Refuse what cannot be composed."""
        ...

    def compose(self, prompts: Sequence[Prompt]) -> list[Notes]:
        """The composed notes of each prompt, in order."""
        ...

    def new_batch(self) -> Decoder:
        """A running batch without any sequence."""
        ...


class BatchDecoder:
    """Composes for many prompts at once with one checkpoint."""

    def __init__(
        self, checkpoint: Checkpoint, *, batch_size: int = 64, original: OriginalGuidance | None = None
    ) -> None:
        self.checkpoint = checkpoint
        # The baseline network is torch's LSTM, which keeps the bits of a row in any batch on a CPU only.
        device = torch.device("cpu") if isinstance(checkpoint.network, BaselineNetwork) else best_device()
        self.network = checkpoint.network.to(device).eval().prepared()
        self.batch_size = batch_size
        self.original = original or OriginalGuidance()

    def check(self, prompt: Prompt) -> None:
        """Refuse what this checkpoint cannot do.

        Raises:
            RequestError: the prompt's mode needs attributes that the network was not trained on, or it asks
                for an arousal of its own, which two emotions do not have.
        """
        if isinstance(self.network, ExpressiveNetwork):
            return
        if prompt.guidance in CONDITIONED_MODES:
            raise RequestError(
                "guidance",
                f"{prompt.guidance!r} needs a checkpoint of the expressive preset, this one is of the"
                " baseline preset; choose another mode or checkpoint",
            )
        points = prompt.curve or ((0.0, *prompt.emotion_at(0.0)),)
        if any(arousal != valence for _, valence, arousal in points):
            raise RequestError(
                "arousal",
                "apart from the valence needs a checkpoint of the expressive preset, this one knows happy and"
                " sad; leave it out or choose another checkpoint",
            )

    def compose(self, prompts: Sequence[Prompt]) -> list[Notes]:
        """The composed notes of each prompt, in order: see ``pieces``."""
        return [piece.notes for piece in self.pieces(prompts, measuring=False)]

    def pieces(self, prompts: Sequence[Prompt], *, measuring: bool = True) -> list[Composed]:
        """The piece of each prompt, in order; its onsets go on from its seed's last onset.

        Args:
            prompts: any number.
            measuring: whether to find out how far guidance has moved the network; it takes time.

        Returns:
            One piece a prompt, of 1 to its ``length`` notes, without the seed.

        Raises:
            RequestError: see ``check``.
        """
        for prompt in prompts:
            self.check(prompt)
        waiting = deque(enumerate(prompts))
        done: dict[int, Composed] = {}
        decoder = self.new_batch(measuring)
        while waiting or decoder.states:
            room = min(self.batch_size - len(decoder.states), len(waiting))
            if room:
                decoder.join([waiting.popleft() for _ in range(room)])
            decoder.decode_step()
            done.update(decoder.leave())
        return [done[index] for index in range(len(prompts))]

    def new_batch(self, measuring: bool = False) -> BaselineDecoder | ExpressiveDecoder:
        """A running batch without any sequence; whoever lets a prompt join has checked it."""
        checkpoint = self.checkpoint
        if isinstance(self.network, BaselineNetwork):
            assert isinstance(checkpoint.preset, BaselinePreset)
            return BaselineDecoder(
                self.network, checkpoint.preset, checkpoint.clusters, self.original, measuring=measuring
            )
        assert isinstance(checkpoint.preset, ExpressivePreset)
        return ExpressiveDecoder(
            self.network, checkpoint.preset, checkpoint.clusters, self.original, measuring=measuring
        )
