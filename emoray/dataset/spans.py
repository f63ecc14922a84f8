"""Spans: stretches of pieces side by side, in chunks, for a network that carries its state.

Conventions
-----------
A span is up to ``preset.span`` notes of one piece; its state starts afresh and is carried from chunk to
chunk, never into another piece. Places past its end are padded and weigh nothing. What an epoch reads depends
on (random seed, epoch, rank) alone. Training augments a span by transposition, tempo and loudness, and leaves
groups of attributes out at random (condition dropout), so that one network predicts with any of them or none.

Letters: **B** spans, **T** notes of a chunk, **A** = 16 attributes, **G** = 5 groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emoray.config import ExpressivePreset
from emoray.dataset.attributes import GROUPS, N_ATTRIBUTES, attributes_ahead
from emoray.dataset.bins import velocity_bins
from emoray.notes import HIGHEST_KEY, LOWEST_KEY, Notes, steps


@dataclass(frozen=True, eq=False)
class Spans:
    """B spans of n notes and the note after each; [B, n + 1] unless said otherwise."""

    pitch: NDArray[np.int64]
    step: NDArray[np.float32]
    duration: NDArray[np.float32]
    velocity: NDArray[np.int64]
    """Bins."""
    condition: NDArray[np.float32]
    """[B, n, A + G] the condition under which the note after each is predicted."""
    mask: NDArray[np.bool_]
    """[B, n] places whose following note is there."""

    def chunks(self, size: int) -> Iterator[Spans]:
        """Chunks of ``size`` places, in order; each brings the note after its last."""
        for first in range(0, self.condition.shape[1], size):
            notes, places = slice(first, first + size + 1), slice(first, first + size)
            yield Spans(
                self.pitch[:, notes], self.step[:, notes], self.duration[:, notes], self.velocity[:, notes],
                self.condition[:, places], self.mask[:, places],
            )  # fmt: skip

    def padded(self, places: int) -> Spans:
        """The same spans with room for so many places (at least their own); what is added weighs nothing."""
        more = places - self.condition.shape[1]
        if not more:
            return self
        room = ((0, 0), (0, more))
        return Spans(
            pitch=np.pad(self.pitch, room),
            step=np.pad(self.step, room),
            duration=np.pad(self.duration, room, constant_values=1),
            velocity=np.pad(self.velocity, room),
            condition=np.pad(self.condition, (*room, (0, 0))),
            mask=np.pad(self.mask, room),
        )


def training_spans(
    pieces: Sequence[Notes], preset: ExpressivePreset, count: int, size: int, key: tuple[int, ...]
) -> Iterator[Spans]:
    """``count`` spans, ``size`` side by side, from places sampled evenly over all notes; augmented.

    Args:
        pieces: at least one of two notes.
        preset: how long, and how far they are augmented.
        count: how many spans, a multiple of ``size``.
        size: spans in each batch.
        key: starts the random generator.
    """
    generator = np.random.default_rng(key)
    lengths = np.array([len(piece) for piece in pieces], dtype=np.float64)
    for _ in range(count // size):
        chosen = generator.choice(len(pieces), size=size, p=lengths / lengths.sum())
        rows = [_augmented(pieces[index], preset, generator) for index in chosen]
        yield stacked(rows, preset, [condition_groups(generator, preset.condition_dropout) for _ in rows])


def beginnings(pieces: Sequence[Notes], preset: ExpressivePreset) -> list[Notes]:
    """The first span of as many pieces, evenly spaced, as give about ``preset.validation_notes`` notes."""
    notes = sum(min(preset.span, len(piece) - 1) for piece in pieces)
    stride = max(1, -(-notes // preset.validation_notes))
    return [piece[: preset.span + 1 + preset.lookahead] for piece in pieces[::stride]]


def stacked(rows: Sequence[Notes], preset: ExpressivePreset, groups: Sequence[NDArray[np.bool_]]) -> Spans:
    """Stretches of pieces, at most ``preset.span`` notes predicted of each, to padded arrays.

    Args:
        rows: each with up to ``preset.lookahead`` notes more than are predicted, to measure attributes on.
        preset: lengths.
        groups: [G] which groups of attributes the condition of each row gives.
    """
    places = min(preset.span, max(len(row) for row in rows) - 1)
    places = -(-places // preset.chunk) * preset.chunk
    shape = (len(rows), places + 1)
    pitch, velocity = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    step, duration = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    conditions = np.zeros((len(rows), places, N_ATTRIBUTES + len(GROUPS)), np.float32)
    mask = np.zeros((len(rows), places), np.bool_)
    for index, (row, given) in enumerate(zip(rows, groups, strict=True)):
        kept = row[: places + 1]
        n = len(kept)
        pitch[index, :n], velocity[index, :n] = kept["pitch"], velocity_bins(kept["velocity"])
        step[index, :n], duration[index, :n] = steps(kept), kept["duration"]
        mask[index, : n - 1] = True
        if given.any():
            ahead = attributes_ahead(row, preset.lookahead, n)[1:]
            conditions[index, : n - 1] = condition_of(ahead, given)
    return Spans(pitch, step, duration, velocity, conditions, mask)


def condition_of(attributes: NDArray[np.float32], groups: NDArray[np.bool_]) -> NDArray[np.float32]:
    """[..., A] attributes and which groups of them are given [G] to a condition [..., A + G]."""
    mask = np.repeat(groups, [part.stop - part.start for part in GROUPS.values()])
    flags = np.broadcast_to(groups.astype(np.float32), (*attributes.shape[:-1], len(groups)))
    return np.concatenate([attributes * mask, flags], axis=-1).astype(np.float32)


def condition_groups(generator: np.random.Generator, dropout: float) -> NDArray[np.bool_]:
    """[G] groups to give: none of them at a rate of ``dropout``, some at half that rate, else all."""
    uniform = generator.random()
    some = generator.random(len(GROUPS)) < 0.5
    if uniform < dropout:
        return np.zeros(len(GROUPS), np.bool_)
    return some if uniform < 1.5 * dropout else np.ones(len(GROUPS), np.bool_)


def _augmented(piece: Notes, preset: ExpressivePreset, generator: np.random.Generator) -> Notes:
    """A span of a piece from a random place on, augmented; beginnings come more often than their share."""
    place = generator.integers(-preset.span // 4, max(1, len(piece) - preset.chunk))
    first = max(0, min(int(place), len(piece) - 2))
    notes = piece[first : first + preset.span + 1 + preset.lookahead].copy()
    lowest, highest = int(notes["pitch"].min()), int(notes["pitch"].max())
    low = max(-preset.transpose, min(0, LOWEST_KEY - lowest))
    high = min(preset.transpose, max(0, HIGHEST_KEY - highest))
    notes["pitch"] += np.uint8(generator.integers(low, high + 1) % 256)
    factor = np.exp(generator.uniform(-preset.stretch, preset.stretch))
    notes["onset"] *= factor
    notes["duration"] *= np.float32(factor)
    louder = generator.integers(-preset.loudness, preset.loudness + 1)
    notes["velocity"] = np.clip(notes["velocity"].astype(np.int64) + louder, 1, 127)
    return notes
