"""Logs: messages on stderr, as text or as one JSON object a line.

Conventions
-----------
A message about a row carries its id: ``log.warning(..., extra={"row": 3, "request": "a"})``. No message holds
what a file holds. The format is set by ``EMORAY_LOG`` in the driver and, as Ray's setup hook, in each worker
and replica, whose lines Ray keeps in ``logs/worker-*.err``. This formatter and not ``ray.LoggingConfig``,
because that one names its keys otherwise, leaves Serve's replicas out and needs Ray.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

VARIABLE = "EMORAY_LOG"
LOG_FORMATS = ("text", "json")
ABOUT = ("row", "request")
"""What a message may be about."""


class TextFormatter(logging.Formatter):
    """``2026-11-25 12:00:00,000 WARNING emoray.batch.shard: failed: ... (row 3, request a)``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 logging's name
        """The line, without a traceback."""
        about = ", ".join(f"{name} {value}" for name, value in _about(record).items())
        return super().formatMessage(record) + (f" ({about})" if about else "")


class JsonFormatter(logging.Formatter):
    """``time level logger message``, and where there is one ``row``, ``request`` and ``traceback``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        } | _about(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """emoray's handler, a class of its own so that ``set_up`` replaces an earlier one."""

    def __init__(self) -> None:
        super().__init__(sys.__stderr__)  # Serve replaces sys.stderr by a logger
        self.setFormatter(JsonFormatter() if os.environ.get(VARIABLE) == "json" else TextFormatter())


def set_up() -> None:
    """Configure logging: as JSON if ``EMORAY_LOG`` is ``json``, else as text."""
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, StderrHandler)]
    root.addHandler(StderrHandler())
    logging.getLogger("emoray").setLevel(logging.INFO)


def as_json() -> bool:
    """Whether this process logs JSON; if so, nothing else should be written to stderr."""
    ours = [handler for handler in logging.getLogger().handlers if isinstance(handler, StderrHandler)]
    return any(isinstance(handler.formatter, JsonFormatter) for handler in ours)


def _about(record: logging.LogRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in ABOUT if hasattr(record, name)}
