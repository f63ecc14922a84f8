"""Composers made here, for stages that need one: a worker gets them by value."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from ray import cloudpickle

from emoray.compose.decoder_state import Composed, DecoderState
from emoray.notes import Notes
from emoray.request import Prompt

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass
class AtOnce:
    """A function as a composer: the requests under way are composed by one call, and leave."""

    compose: Callable[[Sequence[Prompt]], list[Notes]]

    def check(self, request: Prompt) -> None:
        """Refuse nothing."""

    def new_batch(self) -> AtOnceDecoder:
        """A batch that nobody has entered yet."""
        return AtOnceDecoder(self.compose)


@dataclass
class AtOnceDecoder:
    compose: Callable[[Sequence[Prompt]], list[Notes]]
    states: list[DecoderState] = field(default_factory=list)
    pieces: list[Notes] = field(default_factory=list)

    def join(self, waiting: Sequence[tuple[int, Prompt]]) -> None:
        """Take requests in."""
        self.states += [DecoderState(place, request, np.random.default_rng(0)) for place, request in waiting]

    def decode_step(self) -> None:
        """Compose them."""
        self.pieces = self.compose([state.prompt for state in self.states])

    def leave(self) -> list[tuple[int, Composed]]:
        """All of them."""
        over = [
            (state.index, Composed(piece, 0.0)) for state, piece in zip(self.states, self.pieces, strict=True)
        ]
        self.states, self.pieces = [], []
        return over
