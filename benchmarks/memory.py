"""Memory: what a process and its children hold, sampled while they work.

Conventions
-----------
Bytes are USS, the memory that only this process holds and that its end would free: RSS counts the object
store and every shared library again in each process. The object store is measured apart, by Ray's report of
the space that is left in it.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import ray  # brings psutil along, and makes it importable

import psutil  # isort: skip

MEGABYTE = 1_000_000
Sample = TypeVar("Sample")


def held(pid: int) -> dict[str, int]:
    """USS by process, ``name pid``, of a process and all below it; those that end meanwhile are left out."""
    found = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                found[f"{_name(process)} {process.pid}"] = process.memory_full_info().uss
    return found


def _name(process: psutil.Process) -> str:
    """What the process calls itself: Ray's workers write their task into their command line."""
    title = (process.cmdline() or [process.name()])[0].rpartition("/")[2]
    return title.partition(".")[0]  # the method that it is in changes all the time


def object_store() -> float:
    """Bytes in the object store of the Ray that this process is connected to."""
    resource = "object_store_memory"
    return ray.cluster_resources()[resource] - ray.available_resources().get(resource, 0.0)


@contextlib.contextmanager
def sampled(sample: Callable[[], Sample], every: float = 0.5) -> Iterator[list[Sample]]:
    """A list that grows by a sample every so many seconds, by a thread, as long as the context lasts."""
    samples: list[Sample] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            started = time.monotonic()
            samples.append(sample())
            over.wait(max(0.0, every - (time.monotonic() - started)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield samples
    finally:
        over.set()
        watcher.join()
