"""Publish: who may write in a batch folder, how its files appear, and how many workers died over a shard.

**Files** appear whole or not at all, and are still there after a power cut. On a disk a file is written under
a scratch name in the same folder, synced, renamed, and the folder synced. A crash leaves at most scratch
files, which have a suffix of their own. An object store does all that by itself: an object is there once its
upload is complete.

**Fencing tokens.** Every run of the driver takes a number that is higher than any before, its fencing token.
A worker looks at the folder before it commits, and one that finds a higher token than its own leaves the
shard to that run. On a disk the driver also holds a lock on ``run.lock``, so a second driver does not start.
The lock ends with the process. An object store has no lock: there a run claims its token as an object,
``fences/<number>``, and a second driver takes the folder over; the first one finds the higher token at its
next commit and stops. What both had under way is composed twice and kept once, because a shard's files have
the same names and the same music whoever makes them. So two drivers can waste work, but neither lose nor
double a row. (A driver that stalls between its look and its upload for a whole ``retry-failed`` puts back the
failed rows of that shard; they can be retried.) Nobody can tell whether a driver is at work on an object
store.

**Attempts.** A worker that is killed (out of memory, a crash in a library, its node lost) cannot report it,
and Ray hands its shard to the next worker, for ever. So a worker leaves a mark before it begins and removes
it when it ends, however it ends: a mark that is there is a worker that died. It is a scratch file with the
run's fencing token in its name, so the next run sweeps it and starts to count anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from emoray.errors import BatchError
from emoray.storage import StoragePath, concurrent_map, error_text, translated_errors

SCRATCH = ".emoray-tmp"
"""Suffix of what is not published yet."""
RESULTS = "results"
"""Folder of the ledger's parts."""
LOCK, FENCES = "run.lock", "fences"
"""The file that a driver locks; the folder of claimed fencing tokens on an object store."""
_TOKEN_SPREAD = 2**32


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

    On an object store nothing has a scratch name but what workers leave beside results.
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


@contextlib.contextmanager
def hold_folder(out: StoragePath) -> Iterator[int]:
    """Be the one driver of a batch folder; yields this run's fencing token, which is higher than any before.

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
        token = latest_token(out) + 1
        line = f"{token} {_me()}"
        os.pwrite(file.fileno(), f"{line:<200}\n".encode(), 0)  # one write, so a reader sees all or nothing
        yield token


def is_running(out: StoragePath) -> bool | None:
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


def latest_token(out: StoragePath) -> int:
    """The fencing token of the latest run; 0 before the first."""
    if out.local is None:
        claims, _ = (out / FENCES).children()
        return max((int(name) for name in claims if name.isdecimal()), default=0)
    try:
        return int((out.local / LOCK).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def refuse_overtaken(out: StoragePath, token: int) -> None:
    """Refuse the token of a run that a later one has taken over.

    Raises:
        BatchError: a later run holds the folder.
    """
    if latest_token(out) != token:
        raise BatchError(out, "has been taken over by another run; leave it to that one")


def _claimed(out: StoragePath) -> int:
    """Claim a new token; two runs that start at the same moment do not claim the same one."""
    token = latest_token(out) + 1 + secrets.randbelow(_TOKEN_SPREAD)
    publish({out / FENCES / f"{token:020d}": f"{_me()}\n".encode()})
    return token


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
    for patience in (0.1, 0.2, 0.0):  # ``is_running`` holds the lock for a moment as well
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(patience)
    return False


@contextlib.contextmanager
def count_deaths(part: StoragePath, token: int) -> Iterator[int]:
    """Work on the shard whose results go to ``part``; yields how many workers of this run have died over it.

    Raises:
        BatchError: the folder cannot be written.
    """
    mark = part.parent / f".{part.name}.{token}{SCRATCH}"
    try:
        deaths = int(mark.read_bytes())
    except (OSError, ValueError):
        deaths = 0
    publish({mark: str(deaths + 1).encode()})
    try:
        yield deaths
    except BaseException:
        with contextlib.suppress(BatchError):  # the disk that failed fails again; the next run sweeps
            mark.delete()
        raise
    mark.delete()
