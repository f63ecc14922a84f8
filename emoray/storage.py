"""Storage: files and folders on this machine and on object stores, behind one class.

Conventions
-----------
A ``StoragePath`` is a local path, or a key behind ``s3://``, ``gs://`` or ``file://``. It is a value and
travels to Ray's workers. Credentials do not travel in it: every node takes its own from its environment.
pyarrow reads the options that a URI has after ``?`` (``endpoint_override``, ``region``, ...).

Reading a missing file raises ``FileNotFoundError`` and reading a forbidden one ``PermissionError``, on disks
and on object stores alike. Any other failure raises ``BatchError``, because it would hit every other file
too. ``batch/publish.py`` writes files.
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

from emoray.errors import BatchError, ConfigError

OPTIONS = {
    "s3": "allow_delayed_open=true",  # a small file is one PUT and not three requests
    "gs": "retry_limit_seconds=60",  # the default retries a wrong name for a quarter of an hour
}
"""Default options of each kind of store; the options in a URI override them."""
MAX_THREADS = 16
"""Concurrent requests to a store, which answers many requests as fast as one."""
THREADS_AFTER_SECONDS, THREADS_AFTER_IDLE = 0.02, 4.0
"""Threads start after this many seconds of waiting, and this many times the CPU time: files on a local disk
are read three times as fast without threads."""
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?]*)([^?]*)\??(.*)")
_DENIED = re.compile(
    r"ACCESS_DENIED|FORBIDDEN|INVALID_ACCESS_KEY|SIGNATURE|PERMISSION_DENIED|credential|OAuth2"
)

Input = TypeVar("Input")
Output = TypeVar("Output")


@dataclass(frozen=True)
class StoragePath:
    """A file or a folder on this machine or on an object store; ``storage_path`` makes one."""

    system: FileSystem = field(hash=False)
    path: str
    """The path in the form that ``system`` takes."""
    scheme: str = ""
    """``s3`` or ``gs``; empty on this machine."""
    options: str = ""
    """The part of the URI after ``?``."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}" if self.scheme else self.path

    def __truediv__(self, name: str) -> StoragePath:
        return replace(self, path=f"{self.path.rstrip('/')}/{name}")

    @property
    def uri(self) -> str:
        """The text from which ``storage_path`` makes the same path again."""
        return f"{self}?{self.options}" if self.options else str(self)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> StoragePath:
        """The folder that contains it."""
        return replace(self, path=self.path.rpartition("/")[0] or "/")

    @property
    def local(self) -> Path | None:
        """The path on this machine; None on an object store."""
        return Path(self.path) if isinstance(self.system, LocalFileSystem) else None

    def exists(self) -> bool:
        """Whether a file exists there, or a folder with files in it."""
        with _batch_errors(self):
            return self.system.get_file_info(self.path).type != FileType.NotFound

    def read_bytes(self, most_bytes: int | None = None) -> bytes:
        """The whole file, or its first ``most_bytes`` bytes.

        Raises:
            OSError: the file is missing, or reading it is forbidden.
        """
        with translated_errors(self), self.system.open_input_file(self.path) as file:
            return file.read(most_bytes)

    def children(self) -> tuple[list[str], list[str]]:
        """The names of the files and of the folders in this folder; two empty lists if it does not exist."""
        found = self._select(recursive=False)
        files = sorted(info.base_name for info in found if info.type != FileType.Directory)
        return files, sorted(info.base_name for info in found if info.type == FileType.Directory)

    def file_versions(self) -> dict[str, tuple[int, int]]:
        """The files in this folder, each with its size in bytes and its modification time in nanoseconds."""
        found = self._select(recursive=False)
        return {
            info.base_name: (info.size, info.mtime_ns or 0)
            for info in found
            if info.type != FileType.Directory
        }

    def files(self) -> list[str]:
        """All files below this folder, as relative paths; empty if the folder does not exist."""
        found = self._select(recursive=True)
        start = len(self.path.rstrip("/")) + 1
        return sorted(info.path[start:] for info in found if info.type != FileType.Directory)

    def delete(self) -> None:
        """Remove the file; a file that does not exist is no error.

        Raises:
            BatchError: the file cannot be removed.
        """
        try:
            with translated_errors(self), contextlib.suppress(FileNotFoundError):
                self.system.delete_file(self.path)
        except OSError as err:
            reason = f"cannot be deleted ({error_text(err)}); mend that and run again with --resume"
            raise BatchError(self, reason) from err

    def _select(self, *, recursive: bool) -> list[Any]:
        selector = FileSelector(self.path, allow_not_found=True, recursive=recursive)
        with _batch_errors(self), contextlib.suppress(NotADirectoryError):
            return self.system.get_file_info(selector)
        return []


def storage_path(where: str | Path | StoragePath) -> StoragePath:
    """Parse a path or a URI.

    Raises:
        BatchError: the URI cannot be used.

    >>> storage_path("file:///tmp/music").local
    PosixPath('/tmp/music')
    """
    if isinstance(where, StoragePath):
        return where
    uri = _URI.fullmatch(where) if isinstance(where, str) else None
    if uri is None:
        return StoragePath(LocalFileSystem(), str(Path(where).absolute()))
    scheme, authority, path, options = uri.groups()
    scheme = "gs" if scheme == "gcs" else scheme
    if scheme not in (*OPTIONS, "file"):
        raise BatchError(where, "is not one of s3://, gs://, file:// or a path; choose one of them")
    if scheme != "file" and not authority:
        raise BatchError(where, "names no bucket; write it after the two slashes")
    if "@" in authority:
        raise BatchError(f"{scheme}://...", "holds credentials; leave them to the environment of every node")
    asked = "&".join(text for text in (OPTIONS.get(scheme), options) if text)
    here = StoragePath(LocalFileSystem(), f"{authority}{path}", scheme)  # the subject of errors
    try:
        with translated_errors(here):
            system, path = FileSystem.from_uri(
                f"{scheme}://{authority}{path}" + (f"?{asked}" if asked else "")
            )
    except (pa.ArrowException, OSError) as err:
        raise BatchError(here, f"cannot be used ({error_text(err)}); check the URI") from err
    return StoragePath(system, path) if scheme == "file" else StoragePath(system, path, scheme, options)


def read_file(where: str | Path | StoragePath) -> bytes:
    """The bytes of a file that a user named.

    Raises:
        ConfigError: it cannot be read. BatchError: the URI cannot be used, or its store cannot be reached.
    """
    try:
        return storage_path(where).read_bytes()
    except OSError as err:
        raise ConfigError(where, f"cannot be read ({error_text(err)}); check the path") from err


def write_file(where: str | Path | StoragePath, data: bytes) -> None:
    """Write a file where a user asked for it, and its folder if that does not exist.

    Raises:
        ConfigError: it cannot be written. BatchError: the URI cannot be used, or its store cannot be reached.
    """
    file = storage_path(where)
    try:
        if file.local is not None:
            file.local.parent.mkdir(parents=True, exist_ok=True)
            file.local.write_bytes(data)
        else:
            with (
                translated_errors(file),
                file.system.open_output_stream(file.path, compression=None) as stream,
            ):
                stream.write(data)
    except OSError as err:
        raise ConfigError(where, f"cannot be written ({error_text(err)}); choose another place") from err


@contextlib.contextmanager
def translated_errors(where: StoragePath) -> Iterator[None]:
    """Translate an object store's errors into the types that a local disk raises.

    Raises:
        OSError: the error concerns this file alone. BatchError: the store cannot be reached.
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
        raise BatchError(
            where, f"cannot be reached ({error_text(err)}); check name, network and region"
        ) from err


@contextlib.contextmanager
def _batch_errors(where: StoragePath) -> Iterator[None]:
    """Turn every error into a ``BatchError``.

    Raises:
        BatchError: the path cannot be listed or changed.
    """
    try:
        with translated_errors(where):
            yield
    except OSError as err:
        raise BatchError(
            where, f"cannot be used ({error_text(err)}); check the path and its permissions"
        ) from err


def error_text(err: Exception) -> str:
    """The message of an error as one line of at most 200 characters."""
    text = getattr(err, "strerror", None) or str(err) or type(err).__name__
    return re.sub(r"\s+", " ", text)[:200]


def concurrent_map(function: Callable[[Input], Output], inputs: Iterable[Input]) -> Iterator[Output]:
    """``map`` for functions that may wait for a store, with results in order.

    The calling thread does the work until most of the time is spent waiting; threads do the rest.

    >>> list(concurrent_map(abs, [-1, -2]))
    [1, 2]
    """
    inputs, seconds, work = iter(inputs), 0.0, 0.0
    for one in inputs:
        began, worked = time.monotonic(), time.thread_time()
        output = function(one)
        seconds += time.monotonic() - began
        work += time.thread_time() - worked
        yield output
        if seconds - work > max(THREADS_AFTER_SECONDS, THREADS_AFTER_IDLE * work):
            yield from _in_threads(function, inputs)


def _in_threads(function: Callable[[Input], Output], inputs: Iterable[Input]) -> Iterator[Output]:
    """The outputs in order; at most ``2 * MAX_THREADS`` are computed ahead of the consumer."""
    waiting: deque[Future[Output]] = deque()
    with ThreadPoolExecutor(MAX_THREADS) as pool:
        for one in inputs:
            waiting.append(pool.submit(function, one))
            if len(waiting) > 2 * MAX_THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
