"""Weights of DeepFace's emotion model: fetched or imported once, by a command, and verified ever after.

Conventions
-----------
A home is the folder DeepFace calls ``DEEPFACE_HOME``; the file lies where DeepFace looks for it,
``HOME/.deepface/weights/facial_expression_model_weights.onnx``. Beside it lies a record of what was put
there: sha256, size and origin. A file without a record, or unlike it, is not used.

Writers hold a lock, write under another name in the same folder and rename, so a reader sees the whole old
file or the whole new one. DeepFace publishes no hash of this file: whoever knows it pins it (``sha256``),
everybody else trusts the first fetch and is told when the file changes later.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path

from emoray.errors import WeightsError

NAME = "facial_expression_model_weights.onnx"
URLS = (
    f"https://github.com/serengil/deepface_models/releases/download/v1.0/{NAME}",
    f"https://huggingface.co/serengil/deepface/resolve/main/{NAME}",
)
"""Where DeepFace itself fetches it, in its order."""
SCRATCH = f".{NAME}.new-"
"""How the names of unfinished files begin."""
MOST_BYTES = 50_000_000
"""The real file has some six million."""
SECONDS = 30
"""Without a byte before a download is given up."""
BY_HAND = f"fetch {NAME} on a machine with network access and run `emoray weights import FILE`"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file in its place, and what was recorded when it came."""

    path: Path
    sha256: str
    """As recorded; empty without a record."""
    size: int = 0
    """Bytes, as recorded."""
    origin: str = ""
    """The address it was fetched from, or the name of the file that was imported."""

    @property
    def official(self) -> bool:
        """Fetched from where DeepFace fetches it."""
        return self.origin in URLS


def home_folder(home: Path | None = None) -> Path:
    """``home``, or $DEEPFACE_HOME, or the user's own folder: DeepFace's rule."""
    return home if home is not None else Path(os.environ.get("DEEPFACE_HOME") or Path.home())


def weights_path(home: Path | None = None) -> Path:
    """Where the file belongs."""
    return home_folder(home) / ".deepface" / "weights" / NAME


def locate(home: Path | None = None) -> Weights | None:
    """The file in its place, unverified; None if there is none."""
    path = weights_path(home)
    if not path.is_file():
        return None
    try:
        record = json.loads(_record_path(path).read_text())
        return Weights(path=path, **record)
    except (OSError, ValueError, TypeError):  # no record, or not one of ours
        return Weights(path=path, sha256="")


def verify(home: Path | None = None) -> Weights:
    """The file in its place, once its bytes are those that were recorded.

    Raises:
        WeightsError: it is missing, has no record, or has changed since.
    """
    weights = locate(home)
    if weights is None:
        raise WeightsError(weights_path(home), f"is missing; run `emoray weights fetch`, or {BY_HAND}")
    if not weights.sha256:
        raise WeightsError(
            weights.path, f"has no record of its hash; run `emoray weights import {weights.path}` to trust it"
        )
    if _sha256(weights.path) != weights.sha256:
        reason = f"has changed since it was recorded; run `emoray weights fetch` again, or {BY_HAND}"
        raise WeightsError(weights.path, reason)
    return weights


def fetch(to: Path | None = None, url: str | None = None, *, sha256: str | None = None) -> Weights:
    """Download the file into a home, unless what came from there is in place already.

    Args:
        to: the home; None means DeepFace's own.
        url: a mirror; None tries DeepFace's own addresses.
        sha256: refuse any other file.

    Raises:
        WeightsError: no address answers with a whole and working file, or the folder cannot be written.
    """
    urls = (url,) if url else URLS
    path = weights_path(to)
    with _locked(path):
        if (present := _present(to)) and present.origin in urls and sha256 in (None, present.sha256):
            return present
        failures = []
        for address in urls:
            with _scratch(path) as scratch:
                try:
                    _download(address, scratch)
                    return _put(scratch, path, origin=address, sha256=sha256)
                except WeightsError as err:
                    failures.append(str(err))
        raise WeightsError(path, f"was not fetched ({'; '.join(failures)}); {BY_HAND}")


def import_file(source: Path, to: Path | None = None, *, sha256: str | None = None) -> Weights:
    """Put a file of the user's own in place; it may lie there already and only lack its record.

    Raises:
        WeightsError: it cannot be read or is not such a model, or the folder cannot be written.
    """
    path = weights_path(to)
    with _locked(path), _scratch(path) as scratch:
        scratch.write_bytes(_read(source))
        return _put(scratch, path, origin=source.name, sha256=sha256)


def _present(home: Path | None) -> Weights | None:
    try:
        return verify(home)
    except WeightsError:
        return None


def _put(scratch: Path, path: Path, *, origin: str, sha256: str | None) -> Weights:
    """Check the scratch file, then let it and its record take the place of what is there."""
    digest = _sha256(scratch)
    if sha256 is not None and digest != sha256.lower():
        raise WeightsError(origin, f"has sha256 {digest}, not the one asked for; nothing was changed")
    check_graph(scratch, subject=origin)
    weights = Weights(path=path, sha256=digest, size=scratch.stat().st_size, origin=origin)
    record = {name: value for name, value in asdict(weights).items() if name != "path"}
    with _scratch(path) as text:
        text.write_text(json.dumps(record, indent=2) + "\n")
        scratch.replace(path)
        text.replace(
            _record_path(path)
        )  # a crash before this line is a file that has changed: verify says so
    return weights


def check_graph(path: Path, *, subject: object) -> None:
    """Refuse a file that is not a working graph from [n, 48, 48, 1] to [n, 7] probabilities.

    Raises:
        WeightsError: it does not load, takes something else, or answers with something else.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # must stand before the first import of onnxruntime
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    grey = np.full((2, 48, 48, 1), 0.5, np.float32)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        answer = session.run(None, {session.get_inputs()[0].name: grey})[0]
    except Exception as err:  # onnxruntime's errors share no base class
        reason = f"is not a working emotion model for ONNX ({type(err).__name__}); give the whole {NAME}"
        raise WeightsError(subject, reason) from err
    if np.shape(answer) != (2, 7) or not (np.asarray(answer) >= 0).all():
        raise WeightsError(subject, f"does not give seven probabilities a face; give the whole {NAME}")


def _download(url: str, scratch: Path) -> None:
    """Copy what an address answers into a file.

    Raises:
        WeightsError: it does not answer, or the answer is cut short or far too long.
    """
    if not url.startswith(("http://", "https://")):
        raise WeightsError(url, "is not a web address")
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as response, scratch.open("wb") as file:
            promised = response.headers.get("Content-Length")
            while block := response.read(1 << 16):
                file.write(block)
                if file.tell() > MOST_BYTES:
                    raise WeightsError(url, f"sends more than {MOST_BYTES:,} bytes")
            if promised is not None and file.tell() != int(promised):  # urllib ends a cut answer in silence
                raise WeightsError(url, f"sent {file.tell():,} of {promised} bytes")
            file.flush()
            os.fsync(file.fileno())
    except (OSError, HTTPException, ValueError) as err:  # URLError is an OSError
        reason = getattr(err, "reason", None) or err
        raise WeightsError(url, f"does not answer ({reason})") from err


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a place; another process waits here. The lock dies with its holder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{NAME}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left_over in path.parent.glob(f"{SCRATCH}*"):  # of a process that was killed
                left_over.unlink()
            yield
    except OSError as err:
        raise WeightsError(
            path.parent, f"cannot be written ({err.strerror}); choose another folder with --to"
        ) from err


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """A file name of our own beside ``path``; gone afterwards unless it was renamed."""
    handle, name = tempfile.mkstemp(prefix=SCRATCH, dir=path.parent)
    os.fchmod(handle, 0o644)  # mkstemp's files are private; workers may run under another user
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _read(source: Path) -> bytes:
    try:
        with source.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as err:
        raise WeightsError(source, f"cannot be read ({err.strerror}); name a readable file") from err
    if len(data) > MOST_BYTES:
        raise WeightsError(source, f"has more than {MOST_BYTES:,} bytes; give the {NAME} of DeepFace")
    return data


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as err:
        raise WeightsError(path, f"cannot be read ({err.strerror}); mend its permissions") from err
