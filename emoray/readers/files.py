"""Files inside a root: a path in a manifest names a file below the root, or is refused.

Conventions
-----------
A path is text, relative to the root, with ``/`` between its parts. Symbolic links are followed as long as
they stay inside the root. ``check_inside`` checks a path; ``read_inside`` checks it again and opens it in one
step, because the disk may change between the check of a manifest and the reading of a row.

On an object store a path is a part of a key, and a key leads nowhere else: only its text is checked. A
missing key is found when it is read, because a check would cost one request for each row.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from emoray.errors import RequestError, shown
from emoray.storage import StoragePath, error_text

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def read_inside(root: Path, text: str, *, most_bytes: int, subject: str = "file") -> bytes:
    """Read the file that ``text`` names; no file outside the root is opened.

    Raises:
        RequestError: see ``check_inside``; or the file cannot be read, or changed while it was opened.
    """
    name = f"{subject} {shown(text)}"
    start, parts = _found(root, text, most_bytes, name)
    try:
        with os.fdopen(_open(start, parts), "rb") as file:
            _check(name, os.fstat(file.fileno()), most_bytes)
            data = file.read(most_bytes + 1)
    except OSError as err:
        raise RequestError(name, _reason(err)) from None
    if len(data) > most_bytes:
        raise RequestError(name, f"grew beyond {most_bytes:,} bytes; give a shorter file")
    return data


def check_inside(root: StoragePath, text: str, *, most_bytes: int, subject: str = "file") -> None:
    """Check a path on a disk or on an object store without reading the file.

    Raises:
        RequestError: the path is not relative or leaves the root, or the file is missing, not a regular file
            or too large.
    """
    if root.local is not None:
        _found(root.local, text, most_bytes, f"{subject} {shown(text)}")
    else:
        _check_text(f"{subject} {shown(text)}", text)


def read_from(root: StoragePath, text: str, *, most_bytes: int, subject: str = "file") -> bytes:
    """Read the file that ``text`` names, on a disk or on an object store.

    Raises:
        RequestError: see ``read_inside``. BatchError: an object store cannot be reached.
    """
    if root.local is not None:
        return read_inside(root.local, text, most_bytes=most_bytes, subject=subject)
    name = f"{subject} {shown(text)}"
    _check_text(name, text)
    try:
        data = (root / text).read_bytes(most_bytes + 1)
    except OSError as err:
        raise RequestError(name, _reason(err)) from None
    if len(data) > most_bytes:
        raise RequestError(name, f"has more than {most_bytes:,} bytes; give a shorter file")
    return data


def _check_text(name: str, text: str) -> None:
    if _URL.match(text):
        raise RequestError(name, "is a URL; download the file and give its path")
    if text.startswith("/"):
        raise RequestError(name, "is an absolute path; give it relative to the root")
    if ".." in text.split("/"):
        raise RequestError(name, "contains '..'; give a path that stays inside the root")


def _found(root: Path, text: str, most_bytes: int, name: str) -> tuple[Path, tuple[str, ...]]:
    """A folder, and the parts of the path below it, which contain no symbolic link.

    Raises:
        RequestError: see ``check_inside``.
    """
    _check_text(name, text)
    start, parts = root, tuple(part for part in text.split("/") if part not in ("", "."))
    try:
        found = _linkless(root, parts)
        if found is None:
            start = Path(os.path.realpath(root, strict=True))
            path = Path(os.path.realpath(start / text, strict=True))
            if not path.is_relative_to(start):
                raise RequestError(name, "is a link that leaves the root; copy the file into the root")
            parts, found = path.relative_to(start).parts, path.stat()
    except OSError as err:  # missing, a loop of links, a name too long, forbidden
        raise RequestError(name, _reason(err)) from None
    except ValueError:  # a NUL byte, or half of a surrogate pair
        raise RequestError(name, "is not a path; write it as plain text") from None
    _check(name, found, most_bytes)
    return start, parts


def _linkless(root: Path, parts: tuple[str, ...]) -> os.stat_result | None:
    """The file's status; None if a part of the path is a link. Resolving every path would take longer.

    Raises:
        OSError, ValueError: the file is missing.
    """
    path, found = str(root), root.stat()
    for part in parts:
        path = f"{path}/{part}"
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            return None
    return found


def _open(root: Path, parts: tuple[str, ...]) -> int:
    """Open part by part and follow no link: the path is resolved, so a link in it is a later change."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        # O_NONBLOCK: opening a named pipe would wait for its writer
        return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)


def _check(name: str, found: os.stat_result, most_bytes: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise RequestError(name, "is a folder; give a file")
    if not stat.S_ISREG(found.st_mode):
        raise RequestError(name, "is not a regular file; give a file")
    if found.st_size > most_bytes:
        raise RequestError(
            name, f"has {found.st_size:,} bytes, the limit is {most_bytes:,}; give a shorter file"
        )


def _reason(err: OSError) -> str:
    if isinstance(err, FileNotFoundError):
        return "does not exist; check the path and the root"
    return f"cannot be read ({error_text(err)}); check the path and its permissions"
