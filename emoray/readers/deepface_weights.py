"""DeepFace's weights: a command fetches or imports the file once, and every load verifies it.

Conventions
-----------
The home folder is the one that DeepFace calls ``DEEPFACE_HOME``. DeepFace reads the weights from
``HOME/.deepface/weights/facial_expression_model_weights.onnx``. A record beside the file holds its sha256,
size and origin; a file without a record, or with another hash, is not used.

pooch downloads. A writer holds a lock, works in a temporary folder beside the file and renames, so that a
reader sees the whole old file or the whole new one. DeepFace publishes no hash of this file: a user who knows
the hash pins it (``sha256``), other users trust the first download and are told when the file changes later.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from emoray.errors import WeightsError

NAME = "facial_expression_model_weights.onnx"
URLS = (
    f"https://github.com/serengil/deepface_models/releases/download/v1.0/{NAME}",
    f"https://huggingface.co/serengil/deepface/resolve/main/{NAME}",
)
"""The addresses that DeepFace itself tries, in its order."""
SCRATCH_PREFIX = f".{NAME}.new-"
"""The beginning of the names of temporary folders."""
MAX_IMPORT_BYTES = 50_000_000
"""A larger file is not imported; the real one has some six million bytes."""
TIMEOUT = 30
"""Seconds without a byte after which a download fails."""
BY_HAND = f"fetch {NAME} on a machine with network access and run `emoray weights import FILE`"


@dataclass(frozen=True, kw_only=True)
class DeepFaceWeights:
    """The installed file and its record."""

    path: Path
    sha256: str
    """The recorded hash; empty without a record."""
    size: int = 0
    """The recorded number of bytes."""
    origin: str = ""
    """The address that the file was downloaded from, or the name of the imported file."""

    @property
    def official(self) -> bool:
        """Whether the file was downloaded from one of DeepFace's own addresses."""
        return self.origin in URLS


def home_folder(home: Path | None = None) -> Path:
    """``home``, or $DEEPFACE_HOME, or the user's home folder, as DeepFace chooses it."""
    return home if home is not None else Path(os.environ.get("DEEPFACE_HOME") or Path.home())


def weights_path(home: Path | None = None) -> Path:
    """The path at which DeepFace looks for the file."""
    return home_folder(home) / ".deepface" / "weights" / NAME


def locate(home: Path | None = None) -> DeepFaceWeights | None:
    """The installed file, unverified; None if there is none."""
    path = weights_path(home)
    if not path.is_file():
        return None
    try:
        record = json.loads(_record_path(path).read_text())
        return DeepFaceWeights(path=path, **record)
    except (OSError, ValueError, TypeError):  # no record, or a damaged one
        return DeepFaceWeights(path=path, sha256="")


def verify_weights(home: Path | None = None) -> DeepFaceWeights:
    """The installed file, after its hash was compared with the record.

    Raises:
        WeightsError: the file is missing, has no record, or has changed.
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


def fetch(to: Path | None = None, url: str | None = None, *, sha256: str | None = None) -> DeepFaceWeights:
    """Download and install the file, unless a verified file from the same address is installed.

    Args:
        to: the home folder; None means DeepFace's own.
        url: a mirror; None tries DeepFace's own addresses in order.
        sha256: a file with another hash is refused.

    Raises:
        WeightsError: no address answers with a whole and working file, or the folder cannot be written.
    """
    urls = (url,) if url else URLS
    path = weights_path(to)
    with _locked(path):
        installed = _installed(to)
        if installed and installed.origin in urls and (not sha256 or sha256.lower() == installed.sha256):
            return installed
        failures = []
        for address in urls:
            with _scratch_folder(path) as scratch:
                try:
                    return _install(_download(address, scratch), path, origin=address, sha256=sha256)
                except WeightsError as err:
                    failures.append(str(err))
        raise WeightsError(path, f"was not fetched ({'; '.join(failures)}); {BY_HAND}")


def import_file(source: Path, to: Path | None = None, *, sha256: str | None = None) -> DeepFaceWeights:
    """Install a file of the user's own; an installed file without a record may be imported in place.

    Raises:
        WeightsError: the file cannot be read or is not the model, or the folder cannot be written.
    """
    path = weights_path(to)
    with _locked(path), _scratch_folder(path) as scratch:
        copied = scratch / NAME
        copied.write_bytes(_read(source))
        return _install(copied, path, origin=source.name, sha256=sha256)


def _installed(home: Path | None) -> DeepFaceWeights | None:
    try:
        return verify_weights(home)
    except WeightsError:
        return None


def _install(new: Path, path: Path, *, origin: str, sha256: str | None) -> DeepFaceWeights:
    """Check a file in the scratch folder, then replace the installed file and its record."""
    digest = _sha256(new)
    if sha256 is not None and digest != sha256.lower():
        raise WeightsError(origin, f"has sha256 {digest}, not the one asked for; nothing was changed")
    check_graph(new, subject=origin)
    weights = DeepFaceWeights(path=path, sha256=digest, size=new.stat().st_size, origin=origin)
    record = _record_path(new)
    fields = {name: value for name, value in asdict(weights).items() if name != "path"}
    record.write_text(json.dumps(fields, indent=2) + "\n")
    new.chmod(0o644)  # pooch's files are private; workers may run as another user
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(path)
    record.replace(
        _record_path(path)
    )  # after a crash between the two, ``verify_weights`` says the file has changed
    return weights


def check_graph(path: Path, *, subject: object) -> None:
    """Refuse a file that is not a working graph from [n, 48, 48, 1] to [n, 7] probabilities.

    Raises:
        WeightsError: the graph does not load, or takes or returns arrays of other shapes.
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


def _download(url: str, folder: Path) -> Path:
    """Download the file into a folder.

    Raises:
        WeightsError: the address does not answer, or the answer is cut short.
    """
    import pooch

    if not url.startswith(("http://", "https://")):
        raise WeightsError(url, "is not a web address")
    pooch.get_logger().setLevel("ERROR")
    try:
        downloader = pooch.HTTPDownloader(timeout=TIMEOUT)
        return Path(pooch.retrieve(url, known_hash=None, fname=NAME, path=folder, downloader=downloader))
    except (OSError, ValueError) as err:  # the errors of requests are OSErrors
        reason = "cut the file short" if "IncompleteRead" in str(err) else f"does not answer ({err})"
        raise WeightsError(url, reason) from err


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the folder, for which other processes wait. The lock ends with its process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{NAME}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left_over in path.parent.glob(f"{SCRATCH_PREFIX}*"):  # of a killed process
                shutil.rmtree(left_over)
            yield
    except OSError as err:
        raise WeightsError(
            path.parent, f"cannot be written ({err.strerror}); choose another folder with --to"
        ) from err


@contextmanager
def _scratch_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path``, so that a rename moves a file into place."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=path.parent) as folder:
        yield Path(folder)


def _read(source: Path) -> bytes:
    try:
        with source.open("rb") as file:
            data = file.read(MAX_IMPORT_BYTES + 1)
    except OSError as err:
        raise WeightsError(source, f"cannot be read ({err.strerror}); name a readable file") from err
    if len(data) > MAX_IMPORT_BYTES:
        raise WeightsError(source, f"has more than {MAX_IMPORT_BYTES:,} bytes; give the {NAME} of DeepFace")
    return data


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as err:
        raise WeightsError(path, f"cannot be read ({err.strerror}); mend its permissions") from err
