"""Storage: one door to files on this machine and on object stores.

Conventions
-----------
A *place* is a file or a folder: a local path, or a key behind ``s3://``, ``gs://`` or ``file://``. It is a
value and travels to Ray's workers; credentials do not travel in it, every node takes its own from its
environment. What a URI says after ``?`` is pyarrow's (``endpoint_override``, ``region``, ...).

Of a file that is to be read, that it is missing is a ``FileNotFoundError`` and that it is forbidden a
``PermissionError``, here as there. All else is a ``BatchError``, for it would hit every other file too.
Writing is ``batch/publish.py``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from emoray.errors import BatchError

OPTIONS = {
    "s3": "allow_delayed_open=true",  # a small file is one PUT and not three requests
    "gs": "retry_limit_seconds=60",  # else a wrong name is tried for a quarter of an hour
}
"""What we ask of each kind of store; a URI may say otherwise."""
THREADS = 16
"""Requests under way at once: a store answers many as fast as one."""
PATIENCE, IDLE = 0.02, 4.0
"""Threads begin once this many seconds, and so many times the work, were waited: files on a disk are read
three times as fast without them."""
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?]*)([^?]*)\??(.*)")
_DENIED = re.compile(
    r"ACCESS_DENIED|FORBIDDEN|INVALID_ACCESS_KEY|SIGNATURE|PERMISSION_DENIED|credential|OAuth2"
)

Input = TypeVar("Input")
Output = TypeVar("Output")


@dataclass(frozen=True)
class Place:
    """A file or a folder, here or on an object store; made by ``place``."""

    system: FileSystem = field(hash=False)
    path: str
    """As the file system has it."""
    scheme: str = ""
    """Empty on this machine."""
    options: str = ""
    """What the URI said after ``?``."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}" if self.scheme else self.path

    def __truediv__(self, name: str) -> Place:
        return replace(self, path=f"{self.path.rstrip('/')}/{name}")

    @property
    def uri(self) -> str:
        """What ``place`` makes this place of again."""
        return f"{self}?{self.options}" if self.options else str(self)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Place:
        """The folder it is in."""
        return replace(self, path=self.path.rpartition("/")[0] or "/")

    @property
    def local(self) -> Path | None:
        """Its path on this machine; None on an object store."""
        return Path(self.path) if isinstance(self.system, LocalFileSystem) else None

    def exists(self) -> bool:
        """Whether there is a file, or a folder with files in it."""
        with _using(self):
            return self.system.get_file_info(self.path).type != FileType.NotFound

    def read_bytes(self, most_bytes: int | None = None) -> bytes:
        """All of the file, or as much of its beginning.

        Raises:
            OSError: it is not there, or may not be read.
        """
        with reaching(self), self.system.open_input_file(self.path) as file:
            return file.read(most_bytes)

    def children(self) -> tuple[list[str], list[str]]:
        """The names of the files and of the folders in this folder; none if it is not there."""
        found = self._select(recursive=False)
        files = sorted(info.base_name for info in found if info.type != FileType.Directory)
        return files, sorted(info.base_name for info in found if info.type == FileType.Directory)

    def stamps(self) -> dict[str, tuple[int, int]]:
        """The files in this folder, each with its size and when it was written, in nanoseconds."""
        found = self._select(recursive=False)
        return {
            info.base_name: (info.size, info.mtime_ns or 0)
            for info in found
            if info.type != FileType.Directory
        }

    def files(self) -> list[str]:
        """All files below this folder, relative to it; none if it is not there."""
        found = self._select(recursive=True)
        start = len(self.path.rstrip("/")) + 1
        return sorted(info.path[start:] for info in found if info.type != FileType.Directory)

    def delete(self) -> None:
        """Remove the file, if it is there.

        Raises:
            BatchError: it cannot be removed.
        """
        try:
            with reaching(self), contextlib.suppress(FileNotFoundError):
                self.system.delete_file(self.path)
        except OSError as err:
            reason = f"cannot be deleted ({why(err)}); mend that and run again with --resume"
            raise BatchError(self, reason) from err

    def _select(self, *, recursive: bool) -> list[Any]:
        selector = FileSelector(self.path, allow_not_found=True, recursive=recursive)
        with _using(self), contextlib.suppress(NotADirectoryError):
            return self.system.get_file_info(selector)
        return []


def place(where: str | Path | Place) -> Place:
    """The place that a user named.

    Raises:
        BatchError: it is a URI that we cannot use.
    """
    if isinstance(where, Place):
        return where
    uri = _URI.fullmatch(where) if isinstance(where, str) else None
    if uri is None:
        return Place(LocalFileSystem(), str(Path(where).absolute()))
    scheme, authority, path, options = uri.groups()
    scheme = "gs" if scheme == "gcs" else scheme
    if scheme not in (*OPTIONS, "file"):
        raise BatchError(where, "is not one of s3://, gs://, file:// or a path; choose one of them")
    if scheme != "file" and not authority:
        raise BatchError(where, "names no bucket; write it after the two slashes")
    if "@" in authority:
        raise BatchError(f"{scheme}://...", "holds credentials; leave them to the environment of every node")
    asked = "&".join(text for text in (OPTIONS.get(scheme), options) if text)
    here = Place(LocalFileSystem(), f"{authority}{path}", scheme)  # until it is one, a subject for errors
    try:
        with reaching(here):
            system, path = FileSystem.from_uri(
                f"{scheme}://{authority}{path}" + (f"?{asked}" if asked else "")
            )
    except (pa.ArrowException, OSError) as err:
        raise BatchError(here, f"cannot be used ({why(err)}); check the URI") from err
    return Place(system, path) if scheme == "file" else Place(system, path, scheme, options)


@contextlib.contextmanager
def reaching(where: Place) -> Iterator[None]:
    """Give errors of an object store the types that those of a disk have.

    Raises:
        OSError: about this file alone. BatchError: the store cannot be reached.
    """
    try:
        yield
    except OSError as err:
        if err.errno is not None:  # without the path and the stack that pyarrow puts into it
            raise type(err)(err.errno, os.strerror(err.errno), str(where)) from err
        if not where.scheme:
            raise
        if _DENIED.search(str(err)):
            remedy = f"give every node credentials for {where.scheme}:// that may"
            raise PermissionError(errno.EACCES, f"access denied: {remedy}", str(where)) from err
        raise BatchError(where, f"cannot be reached ({why(err)}); check name, network and region") from err


@contextlib.contextmanager
def _using(where: Place) -> Iterator[None]:
    """Any error is one of the whole batch.

    Raises:
        BatchError: the place cannot be looked at or changed.
    """
    try:
        with reaching(where):
            yield
    except OSError as err:
        raise BatchError(where, f"cannot be used ({why(err)}); check the place and who may use it") from err


def why(err: Exception) -> str:
    """What an error says, on one line and not endless."""
    text = getattr(err, "strerror", None) or str(err) or type(err).__name__
    return re.sub(r"\s+", " ", text)[:200]


def side_by_side(function: Callable[[Input], Output], inputs: Iterable[Input]) -> Iterator[Output]:
    """``map`` for what may wait for a store: here, but in threads as soon as most of the time is waited.

    >>> list(side_by_side(abs, [-1, -2]))
    [1, 2]
    """
    inputs, seconds, work = iter(inputs), 0.0, 0.0
    for one in inputs:
        began, worked = time.monotonic(), time.thread_time()
        output = function(one)
        seconds += time.monotonic() - began
        work += time.thread_time() - worked
        yield output
        if seconds - work > max(PATIENCE, IDLE * work):
            yield from _in_threads(function, inputs)


def _in_threads(function: Callable[[Input], Output], inputs: Iterable[Input]) -> Iterator[Output]:
    """The outputs in order, and never more than a few ahead of who takes them."""
    waiting: deque[Future[Output]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for one in inputs:
            waiting.append(pool.submit(function, one))
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
