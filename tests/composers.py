"""Composers made here, for stages that need one: a worker gets them by value."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from ray import cloudpickle

from emoray.compose.decoder_state import Composed, Row
from emoray.config import Prompt
from emoray.notes import Notes

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass
class AtOnce:
    """A function as a composer: the requests under way are composed by one call, and leave."""

    compose: Callable[[Sequence[Prompt]], list[Notes]]

    def check(self, request: Prompt) -> None:
        """Refuse nothing."""

    def player(self) -> AtOncePlayer:
        """A batch that nobody has entered yet."""
        return AtOncePlayer(self.compose)


@dataclass
class AtOncePlayer:
    compose: Callable[[Sequence[Prompt]], list[Notes]]
    rows: list[Row] = field(default_factory=list)
    pieces: list[Notes] = field(default_factory=list)

    def enter(self, waiting: Sequence[tuple[int, Prompt]]) -> None:
        """Take requests in."""
        self.rows += [Row(place, request, np.random.default_rng(0)) for place, request in waiting]

    def advance(self) -> None:
        """Compose them."""
        self.pieces = self.compose([row.request for row in self.rows])

    def leave(self) -> list[tuple[int, Composed]]:
        """All of them."""
        over = [(row.place, Composed(piece, 0.0)) for row, piece in zip(self.rows, self.pieces, strict=True)]
        self.rows, self.pieces = [], []
        return over
