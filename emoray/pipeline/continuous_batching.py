"""Continuous batching: prompts of many callers join and leave a batch that is being composed.

Conventions
-----------
One thread takes decoding steps, one note for each sequence of the batch. A sequence that has all its notes
leaves at once, and waiting prompts join between two steps. To join stops every sequence until the new seeds
have been prefilled. So waiting prompts join once they have together waited as long as all sequences of the
batch together will be stopped: neither side loses much more than it must. The time of a prefill is estimated
from the longest waiting seed and the average time per note of earlier prefills. A sequence has the same bits
in any batch (``compose/decoding.py``), so its music does not depend on when it joined.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import count, islice

from emoray.compose.decoding import Decoder, PromptDecoder
from emoray.errors import EmorayError
from emoray.notes import Notes
from emoray.pipeline.failures import errors_apart
from emoray.request import Prompt

Waiting = tuple[Prompt, "Future[Notes]"]

NEWEST_WEIGHT = 0.25
"""Weight of the newest prefill in the average time per note."""


class ContinuousBatcher:
    """Callers ask for notes, a thread of its own composes them."""

    def __init__(
        self,
        decoder: PromptDecoder,
        *,
        rows: int,
        gather: float,
        on_join: Callable[[int], None] = lambda _: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the thread; it ends with the process.

        Args:
            decoder: what composes.
            rows: how many sequences the batch has at most; other prompts wait.
            gather: seconds for which the first prompt of an empty batch waits for others.
            on_join: is called with the size of the batch after prompts have joined.
            on_step: is called after each prefill and each decoding step.
        """
        self._decoder, self._rows, self._gather = decoder, rows, gather
        self._on_join, self._on_step = on_join, on_step
        self._waiting: deque[Waiting] = deque()
        self._under_way: dict[int, Waiting] = {}
        self._indices = count()
        self._arrival = threading.Condition()
        self._seconds_per_note = 0.0  # of a prefill; 0 before the first
        self._waited = 0.0  # seconds times prompts that could have joined, since the last join
        self._looked = 0.0
        self._since: float | None = None
        threading.Thread(target=self._run, name="composing", daemon=True).start()

    def ask(self, prompt: Prompt) -> Future[Notes]:
        """The notes of a prompt, once they are composed; cancel it and it leaves its place to others."""
        [future] = self.ask_all([prompt])
        return future

    def ask_all(self, prompts: Sequence[Prompt]) -> list[Future[Notes]]:
        """The notes of each prompt; as many of them as fit join the batch together."""
        waiting: list[Waiting] = [(prompt, Future()) for prompt in prompts]
        with self._arrival:
            self._waiting.extend(waiting)
            self._arrival.notify()
        return [future for _, future in waiting]

    @property
    def stuck(self) -> float:
        """Seconds for which the present decoding step, or the present prefill, has been running."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def _run(self) -> None:
        while True:
            with self._arrival:
                self._arrival.wait_for(lambda: self._waiting)
            time.sleep(self._gather)
            self._looked = time.monotonic()
            try:
                self._compose_until_empty(self._decoder.new_batch())
            except Exception:  # noqa: BLE001 whatever it is comes up again below, where its cause is alone
                self._compose_each_alone()
            self._since = None

    def _compose_until_empty(self, batch: Decoder) -> None:
        while self._admit(batch) or batch.states:
            self._since = time.monotonic()
            batch.decode_step()
            self._on_step()
            for state in batch.states:
                state.cancelled = self._under_way[state.index][1].cancelled()
            for index, piece in batch.leave():
                _settle(self._under_way.pop(index)[1], piece.notes)

    def _admit(self, batch: Decoder) -> bool:
        """Let waiting prompts join, if it is time and there is room; says whether any did."""
        began = self._since = time.monotonic()
        able = min(self._rows - len(batch.states), len(self._waiting))
        self._waited += able * (began - self._looked)
        self._looked = began
        if not able or self._waited < len(batch.states) * self._prefill_estimate(able):
            return False
        with self._arrival:
            taken = [self._waiting.popleft() for _ in range(able)]
        fit = {next(self._indices): waiting for waiting in taken if self._fits(waiting)}
        self._under_way |= fit
        self._waited = 0.0
        if fit:
            batch.join([(index, prompt) for index, (prompt, _) in fit.items()])
            self._on_step()
            self._looked = time.monotonic()
            self._learn(self._looked - began, _longest(prompt for prompt, _ in fit.values()))
            self._on_join(len(batch.states))
        return bool(fit)

    def _prefill_estimate(self, able: int) -> float:
        """Seconds that the prefill of the prompts that could join will take."""
        with self._arrival:
            return self._seconds_per_note * _longest(prompt for prompt, _ in islice(self._waiting, able))

    def _learn(self, seconds: float, notes: int) -> None:
        newest = seconds / notes
        known = self._seconds_per_note or newest
        self._seconds_per_note = known + NEWEST_WEIGHT * (newest - known)

    def _fits(self, waiting: Waiting) -> bool:
        """Whether this checkpoint can compose it, and its caller still waits."""
        prompt, future = waiting
        try:
            self._decoder.check(prompt)
        except EmorayError as err:
            _settle(future, err)
        return not future.done()

    def _compose_each_alone(self) -> None:
        """A bug that one prompt brings out must not harm those that were under way with it."""
        while self._under_way:
            self._since = time.monotonic()
            _, (prompt, future) = self._under_way.popitem()
            [outcome] = errors_apart(self._decoder.compose, [prompt])
            self._on_step()
            _settle(future, outcome)


def _longest(prompts: Iterable[Prompt]) -> int:
    """Notes of the longest seed, at least 1: a prefill runs over all seeds side by side."""
    return max((len(prompt.seed) for prompt in prompts), default=1) or 1


def _settle(future: Future[Notes], outcome: Notes | Exception) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
