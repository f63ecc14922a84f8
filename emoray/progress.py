"""Progress: a bar with the remaining time on a terminal, plain lines elsewhere, on stderr or as JSON logs."""

from __future__ import annotations

import logging
import math
import sys
import time
from types import TracebackType
from typing import TextIO

from emoray import logs

log = logging.getLogger(__name__)

PLAIN_EVERY = 5.0
"""Seconds between two plain lines."""


class Meter:
    """A progress meter, used as a context manager.

    >>> import io
    >>> log = io.StringIO()
    >>> with Meter("ingest", 2, "files", stream=log) as meter:
    ...     meter.advance(2)
    >>> log.getvalue().split(" in ")[0]
    'ingest: 2 of 2 files (100 %)'
    """

    def __init__(
        self,
        name: str,
        total: int,
        unit: str,
        *,
        before: int = 0,
        at_most: float = math.inf,
        stream: TextIO | None = None,
    ) -> None:
        """Start at ``before`` units that were done earlier; the work ends within ``at_most`` seconds."""
        self.name, self.total, self.unit, self.at_most = name, total, unit, at_most
        self.stream, self.logged = stream or sys.stderr, stream is None and logs.as_json()
        self.before, self.done, self.started, self.printed = before, before, time.monotonic(), 0.0
        self.bar = _bar(self.stream) if self.stream.isatty() and not self.logged else None

    def __enter__(self) -> Meter:
        if self.bar is not None:
            self.bar.start()
            self.task = self.bar.add_task(
                self.name, total=self.total, completed=self.before, unit=self.unit, note=""
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
        elif self.done > self.before and self.printed != self.done:
            self._print("")

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add ``count`` finished units; ``note``, for example a loss, is shown after them."""
        self.done += count
        if self.bar is not None:
            self.bar.update(self.task, advance=count, note=note)
        elif time.monotonic() - self.started > PLAIN_EVERY * (self._lines + 1) or note:
            self._print(note)

    @property
    def seconds(self) -> float:
        """Seconds since the start, at least a nanosecond."""
        return max(time.monotonic() - self.started, 1e-9)

    def rate(self, more: int = 0) -> float:
        """Units a second since the start, including ``more`` units that have just been finished."""
        return (self.done + more - self.before) / self.seconds

    _lines = 0

    def _print(self, note: str) -> None:
        seconds = self.seconds
        self._lines, self.printed = int(seconds / PLAIN_EVERY), self.done
        pace = seconds / max(self.done - self.before, 1)
        left = min((self.total - self.done) * pace, max(0.0, self.at_most - seconds))
        share = f"{self.done:,} of {self.total:,} {self.unit} ({self.done / max(self.total, 1):.0%})"
        share = share.replace("%", " %")
        eta = f", {left:.0f} s left" if self.done < self.total else ""
        line = f"{self.name}: {share} in {seconds:.0f} s{eta}{', ' + note if note else ''}"
        if self.logged:
            log.info(line)
        else:
            self.stream.write(f"{line}\n")
            self.stream.flush()


def _bar(stream: TextIO):  # type: ignore[no-untyped-def]  # rich is imported only where there is a terminal
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"), TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(file=stream),
    )  # fmt: skip
