"""Publish: a file appears whole or not at all, and is still there after a power cut.

On a disk it is written under a scratch name in the same folder, synced, renamed, and the folder synced:
whoever sees the name sees all of the bytes. A crash leaves at most scratch files, which have a suffix of
their own. An object store does all that by itself: an object is there once its upload is complete.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from emoray.errors import BatchError
from emoray.storage import StoragePath, concurrent_map, error_text, translated_errors

SCRATCH = ".emoray-tmp"
"""Suffix of what is not published yet."""
RESULTS = "results"
"""Folder of the ledger's parts."""


def publish(files: Mapping[StoragePath, bytes]) -> None:
    """Write files of one file system so that each has either its old bytes or all of its new ones.

    Raises:
        BatchError: the disk is full, read-only or not there; what was published before is whole.
    """
    here = {file.local: data for file, data in files.items() if file.local is not None}
    if here:
        _rename_into_place(here)
    else:
        for _ in concurrent_map(_upload, files.items()):
            pass


def scratch_files(folder: StoragePath) -> list[str]:
    """What an interrupted ``publish``, or a worker that died, left under ``folder``, relative to it.

    On an object store nothing has a scratch name but what workers leave beside results (``tries.py``).
    """
    if folder.local is not None:
        found = folder.local.rglob(f".*{SCRATCH}")
        return sorted(path.relative_to(folder.path).as_posix() for path in found)
    names, _ = (folder / RESULTS).children()
    return [f"{RESULTS}/{name}" for name in names if name.endswith(SCRATCH)]


def sweep(folder: StoragePath) -> None:
    """Remove what an interrupted ``publish`` left, and nothing else."""
    for path in scratch_files(folder):
        (folder / path).delete()


def _upload(item: tuple[StoragePath, bytes]) -> None:
    file, data = item
    try:
        with translated_errors(file):
            if not file.scheme:  # a file system with folders, behind pyarrow
                file.system.create_dir(file.parent.path)
            with file.system.open_output_stream(file.path, compression=None) as stream:
                stream.write(data)
    except OSError as err:
        raise _unwritten(file, err) from err


def _rename_into_place(files: Mapping[Path, bytes]) -> None:
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
        raise _unwritten(err.filename or path, err) from err
    finally:
        for path in scratch.values():
            with contextlib.suppress(OSError):  # gone by its rename, or the disk that failed fails again
                path.unlink()


def _unwritten(subject: object, err: OSError) -> BatchError:
    return BatchError(
        subject, f"cannot be written ({error_text(err)}); mend that and run again with --resume"
    )


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
