"""Composing: requests of many callers, composed together as they come (continuous batching).

Conventions
-----------
One thread advances all rows by a note at a time. Whoever has all its notes leaves at once, and whoever waits
enters between two notes. To enter holds up all rows, because a seed has to be heard from its first note, and
hardly longer for many seeds than for one. So those who could enter wait until together they have waited as
long as all rows together would be held up: neither side ever loses much more than it must. A row has the
same bits in any company (``compose/decoding.py``), so nobody hears when it entered.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count

from emoray.compose.decoding import Decoder, PromptDecoder
from emoray.errors import EmorayError
from emoray.notes import Notes
from emoray.pipeline.failures import together_or_alone
from emoray.request import Prompt

Asked = tuple[Prompt, "Future[Notes]"]


class ContinuousBatcher:
    """Callers ask, a thread of its own composes."""

    def __init__(
        self,
        composer: PromptDecoder,
        *,
        rows: int,
        gather: float,
        entered: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start the thread; it ends with the process.

        Args:
            composer: what composes.
            rows: how many requests are under way at most; the others wait.
            gather: seconds for which the first caller of an idle line waits for others.
            entered: is told how many are under way after some have entered.
        """
        self._composer, self._rows, self._gather, self._entered = composer, rows, gather, entered
        self._waiting: deque[Asked] = deque()
        self._under_way: dict[int, Asked] = {}
        self._places = count()
        self._arrival = threading.Condition()
        self._toll = 0.0  # seconds that the quickest entry so far has held up whoever was there
        self._waited = 0.0  # seconds times those who could have entered, since the last entry
        self._looked = 0.0
        self._since: float | None = None
        threading.Thread(target=self._run, name="composing", daemon=True).start()

    def ask(self, request: Prompt) -> Future[Notes]:
        """The notes of a request, once they are composed; cancel it and it leaves its place to others."""
        future: Future[Notes] = Future()
        with self._arrival:
            self._waiting.append((request, future))
            self._arrival.notify()
        return future

    @property
    def stuck(self) -> float:
        """Seconds that it has been at the present note, or at the seeds of those who enter."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def _run(self) -> None:
        while True:
            with self._arrival:
                self._arrival.wait_for(lambda: self._waiting)
            time.sleep(self._gather)
            self._looked = time.monotonic()
            try:
                self._play(self._composer.new_batch())
            except Exception:  # noqa: BLE001 whatever it is comes up again below, where its cause is alone
                self._answer_each_alone()
            self._since = None

    def _play(self, decoder: Decoder) -> None:
        """Compose until nobody is left."""
        while self._let_in(decoder) or decoder.states:
            self._since = time.monotonic()
            decoder.decode_step()
            for state in decoder.states:
                state.cancelled = self._under_way[state.index][1].cancelled()
            for place, piece in decoder.leave():
                _settle(self._under_way.pop(place)[1], piece.notes)

    def _let_in(self, decoder: Decoder) -> bool:
        """Let those who wait enter, if it is time and there is room; says whether any did."""
        began = self._since = time.monotonic()
        room = self._rows - len(decoder.states)
        able = min(room, len(self._waiting))
        self._waited += able * (began - self._looked)
        self._looked = began
        if not able or self._waited < len(decoder.states) * self._toll:
            return False
        with self._arrival:
            entering = [self._waiting.popleft() for _ in range(able)]
        fit = {next(self._places): asked for asked in entering if self._fits(asked)}
        self._under_way |= fit
        self._waited = 0.0
        if fit:
            decoder.join([(place, request) for place, (request, _) in fit.items()])
            self._looked = time.monotonic()
            self._toll = min(self._toll or self._looked - began, self._looked - began)
            self._entered(len(decoder.states))
        return bool(fit)

    def _fits(self, asked: Asked) -> bool:
        """Whether this checkpoint can do it, and its caller still waits."""
        request, future = asked
        try:
            self._composer.check(request)
        except EmorayError as err:
            _settle(future, err)
        return not future.done()

    def _answer_each_alone(self) -> None:
        """A bug that one request brings out must not harm those that were under way with it."""
        while self._under_way:
            self._since = time.monotonic()
            _, (request, future) = self._under_way.popitem()
            [answer] = together_or_alone(self._composer.compose, [request])
            _settle(future, answer)


def _settle(future: Future[Notes], answer: Notes | Exception) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
