"""Fence: who may commit in a batch folder.

Conventions
-----------
Every drive takes a number that is higher than any before, its *fence*; a worker looks at the folder before
it commits, and one that finds a higher fence than its own leaves the shard to that drive.

On a disk the driver holds a lock on ``run.lock`` besides, so a second one does not even start. The lock
goes with the process, however it ends.

An object store has no lock. There a drive claims its fence as an object of its own, ``fences/<number>``,
and a second driver takes the folder over: the first one finds the higher fence at its next commit and
stops. What both had under way is composed twice and kept once, because a shard's files have the same names
and the same music whoever makes them. So two drivers can waste work, but neither lose nor double a row.
(One that stalls between its look and its upload for a whole ``retry-failed`` puts back the failed rows of
that shard: they can be tried again.) Nobody can tell whether a driver is at work there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from emoray.batch.publish import publish
from emoray.errors import BatchError
from emoray.storage import StoragePath

LOCK, FENCES = "run.lock", "fences"
_APART = 2**32


@contextlib.contextmanager
def driving(out: StoragePath) -> Iterator[int]:
    """Drive a folder; yields this drive's fence, which is higher than any before.

    Raises:
        BatchError: somebody else holds the lock of this folder, or it cannot be written.
    """
    if out.local is None:
        yield _claimed(out)
        return
    with _opened(out.local) as file:
        if not _locked(file):
            holder = " ".join(file.read().split()[1:]) or "another process"
            raise BatchError(out, f"is in use by {holder}; wait for it to end")
        fence = fence_of(out) + 1
        line = f"{fence} {_me()}"
        os.pwrite(file.fileno(), f"{line:<200}\n".encode(), 0)  # one write, so a reader sees all or nothing
        yield fence


def is_driven(out: StoragePath) -> bool | None:
    """Whether a driver is at work in the folder; None where nobody can tell."""
    if out.local is None:
        return None
    try:
        with (out.local / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def fence_of(out: StoragePath) -> int:
    """The fence of the latest drive; 0 before the first."""
    if out.local is None:
        claims, _ = (out / FENCES).children()
        return max((int(name) for name in claims if name.isdecimal()), default=0)
    try:
        return int((out.local / LOCK).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def refuse_overtaken(out: StoragePath, fence: int) -> None:
    """Let only the latest drive pass.

    Raises:
        BatchError: there is a later one.
    """
    if fence_of(out) != fence:
        raise BatchError(out, "has been taken over by another run; leave it to that one")


def _claimed(out: StoragePath) -> int:
    """A new fence; two drives that start at the same moment do not claim the same one."""
    fence = fence_of(out) + 1 + secrets.randbelow(_APART)
    publish({out / FENCES / f"{fence:020d}": f"{_me()}\n".encode()})
    return fence


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _opened(out: Path) -> IO[str]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o644), "r+")
    except OSError as err:
        reason = f"cannot be written ({err.strerror})"
        raise BatchError(out, f"{reason}; choose a folder that can, or make it writable") from err


def _locked(file: IO[str]) -> bool:
    for patience in (0.1, 0.2, 0.0):  # ``is_driven`` holds the lock for a moment as well
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(patience)
    return False
