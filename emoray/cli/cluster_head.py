"""Head: end a command whose cluster has lost its head, with one line and in bounded time.

Ray waits a minute for the head and then ends the process without a word that a user could understand. What a
command had committed is whole, so it can be resumed on another cluster.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

PATIENCE = 40.0
"""Seconds without an answer: a head with fault tolerance is back before."""
EVERY = 2.0


def watch_head(address: str, complain: Callable[[str], None]) -> None:
    """Watch ``address`` (host:port) from a thread until this process ends."""
    threading.Thread(target=_watch, args=(address, complain), name="head", daemon=True).start()


def _watch(address: str, complain: Callable[[str], None]) -> None:
    seen = time.monotonic()
    while time.monotonic() - seen < PATIENCE:
        if answers(address):
            seen = time.monotonic()
        time.sleep(EVERY)
    complain(f"{address}: the head of the cluster is gone; start or join another and go on with --resume")
    os._exit(2)  # what waits for Ray would not hear an exception


def answers(address: str) -> bool:
    """Whether something listens at ``address`` (host:port)."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError:
        return False
    return True
