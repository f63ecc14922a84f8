"""Tries: over how many workers a shard has come to grief in this drive.

A worker that is killed (out of memory, a crash in a library, its node lost) cannot say so, and Ray hands its
shard to the next one, for ever. So a worker leaves a mark before it begins and takes it away when it ends,
however it ends: a mark that is there tells of a death. It is a scratch file with the drive's fence in its
name, so the next drive sweeps it and starts to count anew: a driver that is killed ten times blames no row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from emoray.batch.ledger import Layout
from emoray.batch.publish import SCRATCH, publish
from emoray.errors import BatchError


@contextlib.contextmanager
def counted(layout: Layout, number: int, fence: int) -> Iterator[int]:
    """Work on a shard; yields how many workers of this drive have died over it.

    Raises:
        BatchError: the folder cannot be written.
    """
    part = layout.part(number)
    mark = part.parent / f".{part.name}.{fence}{SCRATCH}"
    try:
        deaths = int(mark.read_bytes())
    except (OSError, ValueError):
        deaths = 0
    publish({mark: str(deaths + 1).encode()})
    try:
        yield deaths
    except BaseException:
        with contextlib.suppress(BatchError):  # the disk that failed fails again; the next drive sweeps
            mark.delete()
        raise
    mark.delete()
