"""Sampler: requests to note arrays, many at a time, one note each through one network call.

Conventions
-----------
Requests that are done leave the batch and waiting ones enter. A request's notes depend on the checkpoint
and the request alone: its random numbers come from a generator of its own, and arithmetic is row by row.
How a network is asked for a note is the business of its decoder: ``baseline_decoder.py`` or
``expressive_decoder.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

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
    """Rows of requests for a network."""

    @property
    def states(self) -> Sequence[DecoderState]:
        """The sequences that are being decoded."""
        ...

    def join(self, waiting: Sequence[tuple[int, Prompt]]) -> None:
        """Take requests, with their places in the answer, into the batch."""
        ...

    def decode_step(self) -> None:
        """One more note for each row."""
        ...

    def leave(self) -> list[tuple[int, Composed]]:
        """The pieces of the requests that are over, which leave the batch."""
        ...


class PromptDecoder(Protocol):
    """What ``BatchDecoder`` does, for whoever is given one."""

    def check(self, request: Prompt) -> None:
        """Refuse what cannot be composed."""
        ...

    def compose(self, requests: Sequence[Prompt]) -> list[Notes]:
        """The composed notes of each request, in order."""
        ...

    def new_batch(self) -> Decoder:
        """A batch that nobody has entered yet."""
        ...


class BatchDecoder:
    """Composes for many requests at once with one checkpoint."""

    def __init__(
        self, checkpoint: Checkpoint, *, batch_size: int = 64, guidance: OriginalGuidance | None = None
    ) -> None:
        self.checkpoint = checkpoint
        self.network = checkpoint.network.to(best_device()).eval().prepared()
        self.batch_size = batch_size
        self.guidance = guidance or OriginalGuidance()

    def check(self, request: Prompt) -> None:
        """Refuse what this checkpoint cannot do.

        Raises:
            RequestError: the request's mode needs attributes that the network was not trained on, or it asks
                for an arousal of its own, which two emotions do not have.
        """
        if isinstance(self.network, ExpressiveNetwork):
            return
        if request.guidance in CONDITIONED_MODES:
            raise RequestError(
                "guidance",
                f"{request.guidance!r} needs a checkpoint of the expressive preset, this one is of the seed"
                " preset; choose another mode or checkpoint",
            )
        points = request.curve or ((0.0, *request.emotion_at(0.0)),)
        if any(arousal != valence for _, valence, arousal in points):
            raise RequestError(
                "arousal",
                "apart from the valence needs a checkpoint of the expressive preset, this one knows happy and"
                " sad; leave it out or choose another checkpoint",
            )

    def compose(self, requests: Sequence[Prompt]) -> list[Notes]:
        """The composed notes of each request, in order: see ``pieces``."""
        return [piece.notes for piece in self.pieces(requests, measuring=False)]

    def pieces(self, requests: Sequence[Prompt], *, measuring: bool = True) -> list[Composed]:
        """What becomes of each request, in order; onsets go on where its seed's last onset is.

        Args:
            requests: any number.
            measuring: whether to find out how far guidance has moved the network; it takes time.

        Returns:
            One piece a request, of 1 to its ``length`` notes, without the seed.

        Raises:
            RequestError: see ``check``.
        """
        for request in requests:
            self.check(request)
        waiting = deque(enumerate(requests))
        answers: dict[int, Composed] = {}
        decoder = self.new_batch(measuring)
        while waiting or decoder.states:
            room = min(self.batch_size - len(decoder.states), len(waiting))
            if room:
                decoder.join([waiting.popleft() for _ in range(room)])
            decoder.decode_step()
            answers.update(decoder.leave())
        return [answers[place] for place in range(len(requests))]

    def new_batch(self, measuring: bool = False) -> BaselineDecoder | ExpressiveDecoder:
        """A batch that nobody has entered yet; whoever lets a request in has checked it."""
        checkpoint = self.checkpoint
        if isinstance(self.network, BaselineNetwork):
            assert isinstance(checkpoint.preset, BaselinePreset)
            return BaselineDecoder(
                self.network, checkpoint.preset, checkpoint.clusters, self.guidance, measuring=measuring
            )
        assert isinstance(checkpoint.preset, ExpressivePreset)
        return ExpressiveDecoder(
            self.network, checkpoint.preset, checkpoint.clusters, self.guidance, measuring=measuring
        )
