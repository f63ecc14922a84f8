"""Publish: a file appears whole or not at all, and is still there after a power cut.

Written under a scratch name in the same folder, synced, renamed, and the folder synced: whoever sees the
name sees all of the bytes. A crash leaves at most scratch files, which have a suffix of their own.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from emoray.errors import BatchError

SCRATCH = ".emoray-tmp"
"""Suffix of what is not published yet."""


def publish(files: Mapping[Path, bytes]) -> None:
    """Write files so that each has either its old bytes or all of its new ones.

    Raises:
        BatchError: the disk is full, read-only or not there; what was published before is whole.
    """
    scratch = {path: path.with_name(f".{path.name}.{uuid.uuid4().hex}{SCRATCH}") for path in files}
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_through(scratch[path], data)
        for path in files:
            scratch[path].replace(path)
        for folder in {folder for path in files for folder in (path.parent, path.parent.parent)}:
            _sync_folder(folder)
    except OSError as err:
        reason = f"cannot be written ({err.strerror or err})"
        raise BatchError(err.filename or path, f"{reason}; mend that and run again with --resume") from err
    finally:
        for path in scratch.values():
            with contextlib.suppress(OSError):  # gone by its rename, or the disk that failed fails again
                path.unlink()


def scratch_files(folder: Path) -> list[Path]:
    """What an interrupted ``publish`` left under ``folder``."""
    return sorted(folder.rglob(f".*{SCRATCH}"))


def sweep(folder: Path) -> None:
    """Remove what an interrupted ``publish`` left, and nothing else."""
    for path in scratch_files(folder):
        path.unlink(missing_ok=True)


def _write_through(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)  # else a power cut may take the rename back
    finally:
        os.close(opened)
