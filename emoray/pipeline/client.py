"""Client: items to a Serve handle and their results back, for batch jobs.

Conventions
-----------
Runs in a Ray Data actor or a driver, never inside a deployment: it blocks. A call that fails because a
replica died, was overloaded or took too long is made again, after a pause that doubles and that chance
spreads, up to ``attempts`` times. An item is idempotent, so a call made twice costs time and nothing else.

One item must not end a batch of 100,000: an unexpected error (a bug that an item brings out) becomes the
failed result of that item, with the error's type and message, and its traceback goes to the log as an
ERROR. What fails when the application is deployed stops the run; that is ``deploy``'s part.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from emoray.answer import failed
from emoray.errors import ClusterError
from emoray.items import Item, Result

log = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
"""Seconds."""


def answer_all(
    handle: Any,
    items: Sequence[Item],
    *,
    window: int,
    timeout_s: float,
    attempts: int,
    jitter: random.Random,
    pause_s: float = 0.5,
) -> list[tuple[Result, int]]:
    """Answer items through Serve, several at a time.

    Args:
        handle: what ``deploy`` or ``handle_of`` gave.
        items: [n]
        window: calls under way at once; over all actors together ``ServeSettings.in_flight`` is enough.
        timeout_s: seconds for one attempt, the wait in Serve's queue included.
        attempts: how often one item is tried, at least 1.
        jitter: spreads the pauses, so that callers do not come back all at once.
        pause_s: seconds before the second attempt, on average.

    Returns:
        [n] of (result, attempts it took), in the order of ``items``.
    """
    raise NotImplementedError
