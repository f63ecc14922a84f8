"""Composing: requests that come one by one, composed together; no Ray."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError

import numpy as np
import pytest

from emoray.compose.decoder_state import Composed, DecoderState
from emoray.compose.decoding import BatchDecoder
from emoray.errors import RequestError
from emoray.model.checkpoint import load_checkpoint
from emoray.model.preset import PRETRAINED
from emoray.notes import Notes, as_notes
from emoray.pipeline.continuous_batching import ContinuousBatcher
from emoray.request import Prompt

SEED = as_notes([0.0, 0.4, 0.8], [0.4] * 3, [60, 64, 67], [80] * 3)
BUG, REFUSED = 13, 14
"""Random seeds that break the composer made here, and that it refuses."""


def request(random_seed: int, notes: int = 4) -> Prompt:
    return Prompt(seed=SEED, valence=1.0, guidance="none", notes=notes, random_seed=random_seed)


class Slow:
    """Composes a note for each row every 5 ms, and remembers who was under way."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.hold = threading.Event()
        self.hold.set()

    def check(self, request: Prompt) -> None:
        if request.random_seed == REFUSED:
            raise RequestError("guidance", "is unknown; choose another")

    def compose(self, requests: Sequence[Prompt]) -> list[Notes]:
        if any(request.random_seed == BUG for request in requests):
            raise TypeError("a bug")
        return [SEED[:1] for _ in requests]

    def new_batch(self) -> SlowDecoder:
        return SlowDecoder(self)


class SlowDecoder:
    def __init__(self, composer: Slow) -> None:
        self.composer = composer
        self.states: list[DecoderState] = []

    def join(self, waiting: Sequence[tuple[int, Prompt]]) -> None:
        self.states += [DecoderState(place, asked, np.random.default_rng(0)) for place, asked in waiting]

    def decode_step(self) -> None:
        self.composer.hold.wait()
        time.sleep(0.005)
        self.composer.batches.append([state.prompt.random_seed for state in self.states])
        self.composer.compose([state.prompt for state in self.states])
        for state in self.states:
            state.append(0.1, 0.1, 60, 80)

    def leave(self) -> list[tuple[int, Composed]]:
        over = [(state.index, state.piece) for state in self.states if state.is_over]
        self.states = [state for state in self.states if not state.is_over]
        return over


def test_who_comes_late_enters_at_once_and_leaves_before_the_long_ones():
    line = ContinuousBatcher(composer := Slow(), rows=8, gather=0.0)
    long = line.ask(request(1, notes=2000))
    time.sleep(0.1)
    assert len(line.ask(request(2)).result(timeout=5)) == 4
    assert not long.done()
    long.cancel()
    assert [1, 2] in composer.batches


def test_who_waits_for_no_answer_leaves_its_place_to_others():
    line = ContinuousBatcher(Slow(), rows=1, gather=0.0)
    unwanted = line.ask(request(1, notes=2000))
    time.sleep(0.1)
    unwanted.cancel()
    assert len(line.ask(request(2)).result(timeout=5)) == 4
    with pytest.raises(CancelledError):
        unwanted.result()


def test_no_more_are_under_way_than_it_was_told():
    line = ContinuousBatcher(composer := Slow(), rows=3, gather=0.02)
    answers = [line.ask(request(number)) for number in range(100, 110)]
    assert [len(answer.result(timeout=10)) for answer in answers] == [4] * 10
    assert max(map(len, composer.batches)) == 3


def test_a_bug_and_a_refusal_harm_nobody_else(caplog):
    line = ContinuousBatcher(Slow(), rows=8, gather=0.05)
    good, bug, refused, more = (line.ask(request(number)) for number in (1, BUG, REFUSED, 2))
    assert len(good.result(timeout=5))
    assert len(more.result(timeout=5))
    assert isinstance(bug.exception(timeout=5), TypeError)
    assert isinstance(refused.exception(timeout=5), RequestError)
    assert "a bug" in caplog.text
    assert len(line.ask(request(3)).result(timeout=5)) == 4, "it goes on"


def test_it_says_how_long_it_has_been_at_one_note():
    line = ContinuousBatcher(composer := Slow(), rows=8, gather=0.0)
    assert line.stuck == 0
    composer.hold.clear()
    answer = line.ask(request(1))
    time.sleep(0.2)
    assert line.stuck > 0.1
    composer.hold.set()
    answer.result(timeout=5)
    time.sleep(0.05)
    assert line.stuck == 0


@pytest.mark.parametrize("preset", ["baseline", "expressive"])
def test_music_is_the_same_bytes_as_when_all_come_at_once(preset):
    composer = BatchDecoder(load_checkpoint(PRETRAINED / preset))
    mode = composer.checkpoint.guidance
    asked = [
        Prompt(
            seed=SEED, valence=(-1.0) ** number, guidance=mode, notes=6 + 7 * (number % 3), random_seed=number
        )
        for number in range(9)
    ]
    line, answers = ContinuousBatcher(composer, rows=4, gather=0.0), []
    for one in asked:
        answers.append(line.ask(one))
        time.sleep(0.03)
    for answer, notes in zip(answers, composer.compose(asked), strict=True):
        assert answer.result(timeout=30).tobytes() == notes.tobytes()


class SlowPrefill(Slow):
    """Hears a note of the longest seed in 4 ms, and remembers how many joined at once."""

    def __init__(self) -> None:
        super().__init__()
        self.joined: list[int] = []

    def new_batch(self) -> SlowDecoder:
        return SlowPrefillDecoder(self)


class SlowPrefillDecoder(SlowDecoder):
    def join(self, waiting: Sequence[tuple[int, Prompt]]) -> None:
        self.composer.joined.append(len(waiting))
        time.sleep(0.004 * max(len(prompt.seed) for _, prompt in waiting))
        super().join(waiting)


def test_long_seeds_wait_for_each_other_although_a_short_one_joined_before():
    """To prefill one stops the whole batch for .4 s: one by one they would stop it ten times."""
    line = ContinuousBatcher(decoder := SlowPrefill(), rows=64, gather=0.0)
    under_way = line.ask_all([request(number, notes=20_000) for number in range(8)])
    line.ask(Prompt(seed=SEED[:1], valence=1.0, guidance="none", notes=1, random_seed=20)).result(timeout=5)
    long_seed = as_notes(np.arange(100) / 4, [0.2] * 100, [60] * 100, [80] * 100)
    before, waiting = len(decoder.joined), []
    for number in range(10):
        waiting.append(
            line.ask(Prompt(seed=long_seed, valence=1.0, guidance="none", notes=1, random_seed=30 + number))
        )
        time.sleep(0.03)
    for future in waiting:
        future.result(timeout=20)
    for future in under_way:
        future.cancel()
    assert len(decoder.joined) - before <= 3
