"""Interrupt: Ctrl-C as a KeyboardInterrupt that reaches whoever waits for it.

Python raises an interrupt wherever the program happens to be. In a destructor or a callback it can only be
printed, and amid the import of an extension module it may come out as another error: either way it is lost.
Such an interrupt comes again a moment later, until it is handled. Interrupts that come together are one: a
terminal sends its own to every process, and a wrapper may pass on another, amid the clearing up.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from types import FrameType
from typing import Any

MOMENT = 0.05
"""Seconds until an interrupt comes again."""
TOGETHER = 0.5
"""Seconds within which interrupts are one."""
IMPORT = "<frozen importlib._bootstrap>"
"""Where Python is while it imports."""


def hear() -> None:
    """From now on an interrupt is a KeyboardInterrupt of the main thread."""
    last = -math.inf

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if number == signal.SIGALRM or now - last > TOGETHER:
            last = now
            _interrupt(frame)

    for number in (signal.SIGINT, signal.SIGALRM):
        signal.signal(number, interrupt)
    sys.unraisablehook = _unraisable


def ignore() -> None:
    """From now on an interrupt is too late."""
    for number in (signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    sys.unraisablehook = sys.__unraisablehook__


def _interrupt(frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename == IMPORT:
            _again()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _unraisable(what: Any) -> None:
    if issubclass(what.exc_type, KeyboardInterrupt):
        _again()
    else:
        sys.__unraisablehook__(what)


def _again() -> None:
    signal.setitimer(signal.ITIMER_REAL, MOMENT)
