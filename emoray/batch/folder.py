"""Batch folder: what it belongs to, and the settings of a batch. Without Ray.

Conventions
-----------
``run.json`` is written once, before the first shard, and never changed: the parts of the ledger say how far a
run is. Its ``identity`` names what the music depends on; a folder takes only shards of its own identity.
Settings that change nothing in the music (engine, workers, CPUs) may differ between two runs of the driver.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from emoray.batch.ledger import Layout
from emoray.batch.publish import FENCES, LOCK, SCRATCH, publish
from emoray.batch.stored_manifest import MANIFEST
from emoray.config import BATCH_VERSION, from_fields
from emoray.errors import BatchError, ConfigError
from emoray.readers.expression import THRESHOLD
from emoray.request import REQUEST_OPTIONS
from emoray.storage import StoragePath

RUN = "run.json"
ENGINES = ("serve", "data")
MOST_ROWS = 64
"""In a shard: as many as the network composes at once."""
_PACKAGES = ("emoray", "ray", "torch", "numpy", "pyarrow", "symusic", "scipy", "pretty_midi")


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How the requests of a manifest are generated."""

    checkpoint: Path | None = None
    """None: the one that ships with emoray. Every node must see the same path."""
    guidance: str | None = None
    """Of requests that name none; None is what the checkpoint prescribes."""
    strength: float = 1.0
    """Of requests that name none."""
    without_seed: bool = False
    """Leave the seeds' notes out of the music."""
    faces: str = "auto"
    """The face backend."""
    policy: str = "largest"
    """What to do with several faces."""
    threshold: float = THRESHOLD
    """Of the face reader: below this confidence it abstains."""
    engine: str = "serve"
    """``serve`` generates through Ray Serve, ``data`` inside the workers; the music is the same."""
    workers: int | None = None
    """Ray Data actors; None is what suits the engine."""
    worker_cpus: float | None = None
    """CPUs that Ray sets aside for each worker; None is what suits the engine."""
    window: int | None = None
    """Requests under way in Serve at once, over all workers; None is what keeps its composers busy."""
    timeout: float = 300.0
    """Seconds for one attempt at one request; requests that are generated together share theirs."""
    attempts: int = 5
    """How often a request is tried when its worker or its replica dies, or Serve is overloaded."""
    shard_rows: int | None = None
    """Rows that are committed together, what a crash can cost; None is at most ``MOST_ROWS``, so that the
    workers end together."""

    def __post_init__(self) -> None:
        for name in ("guidance", "strength"):
            if (value := getattr(self, name)) is not None:
                REQUEST_OPTIONS[name].check(value)
        if self.engine not in ENGINES:
            raise ConfigError("engine", f"{self.engine!r} is unknown; choose {', '.join(ENGINES)}")
        for name in ("workers", "worker_cpus", "window", "timeout", "attempts", "shard_rows"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError(name.replace("_", " "), f"must be a positive number, got {value!r}")

    def anywhere(self) -> BatchSettings:
        """The same settings for a process in another folder: Ray's workers, or a later run."""
        return dataclasses.replace(self, checkpoint=self.checkpoint and self.checkpoint.absolute())


def even_shard_rows(rows: int, workers: int) -> int:
    """Rows of a shard, at most ``MOST_ROWS``, such that every worker gets as many shards.

    >>> even_shard_rows(200, 2), even_shard_rows(9, 2), even_shard_rows(2000, 2)
    (50, 5, 63)
    """
    rounds = math.ceil(rows / (MOST_ROWS * workers))
    return math.ceil(rows / max(1, rounds * workers)) or 1


def serve_workers(composers: int, rows: int) -> int:
    """Workers that wait for so many composers.

    A composer has the shard of one while that of another waits, or is read and committed. A batch that the
    composers do at once needs one worker for each.

    >>> serve_workers(2, 2000), serve_workers(2, 60)
    (4, 2)
    """
    return min(2 * composers, max(composers, math.ceil(rows / MOST_ROWS)))


@dataclass(frozen=True, kw_only=True)
class Run:
    """What ``run.json`` holds."""

    identity: dict[str, Any]
    """What the music depends on: fingerprints of manifest and checkpoint, the root, settings."""
    settings: dict[str, Any]
    """``BatchSettings`` of the first run."""
    manifest: str
    """Where the manifest was."""
    root: str
    """Where its paths start from; a URI with all that it takes to open it."""
    rows: int
    shard_rows: int
    versions: dict[str, str]
    version: int = BATCH_VERSION

    def save(self, out: StoragePath) -> None:
        """Publish ``run.json``.

        Raises:
            BatchError: it cannot be written.
        """
        text = json.dumps(dataclasses.asdict(self), indent=2, default=str) + "\n"
        publish({out / RUN: text.encode()})

    @classmethod
    def load(cls, out: StoragePath) -> Run:
        """Read ``run.json``.

        Raises:
            BatchError: ``out`` is no batch folder, or one of another emoray.
        """
        path = out / RUN
        try:
            run = from_fields(cls, json.loads(path.read_bytes()), subject=path)
        except FileNotFoundError:
            raise BatchError(
                out, f"is not a batch folder (no {RUN}); make one with `emoray batch run`"
            ) from None
        except (OSError, ValueError, TypeError, AttributeError, ConfigError) as err:
            raise BatchError(path, f"cannot be used ({err}); start again in another folder") from err
        if run.version != BATCH_VERSION:
            reason = f"has version {run.version}, this emoray reads {BATCH_VERSION}"
            raise BatchError(path, f"{reason}; start again in another folder")
        return run

    def layout(self, out: StoragePath) -> Layout:
        """Where its files are."""
        return Layout(out, self.rows, self.shard_rows)

    def stored_settings(self) -> BatchSettings:
        """The settings of the first run."""
        checkpoint = self.settings["checkpoint"]
        fields = self.settings | {"checkpoint": Path(checkpoint) if checkpoint else None}
        return from_fields(BatchSettings, fields, subject=RUN)

    def refuse_other(
        self, identity: Mapping[str, Any], out: StoragePath, manifest_difference: Callable[[], str] = str
    ) -> None:
        """Let only the identity of this folder pass.

        Args:
            identity: of the batch that asks.
            out: this folder.
            manifest_difference: is called if it is the manifest that differs.

        Raises:
            BatchError: it differs; the reason names in what.
        """
        theirs = self.identity
        differing = [name for name in identity if theirs.get(name) != identity[name]]
        short = [f"another {name}{_values(theirs.get(name), identity[name])}" for name in differing]
        if "manifest" in differing and (rows := manifest_difference()):
            short[differing.index("manifest")] += f" ({rows})"
        if short:
            raise BatchError(out, f"belongs to {' and '.join(short)}; choose another folder for this batch")


def refuse_foreign(out: StoragePath) -> None:
    """Let only a batch folder pass, or one that is empty but for what a run leaves that ended early.

    Raises:
        BatchError: it holds something else.
    """
    files, folders = out.children()
    names = {name for name in files + folders if not name.endswith(SCRATCH)}
    if RUN in names:
        return
    if foreign := sorted(names - {LOCK, FENCES, MANIFEST}):
        raise BatchError(out, f"holds {foreign[0]!r} and is not a batch folder; choose an empty one")


def versions() -> dict[str, str]:
    """What the music of this run was made with."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _values(theirs: object, ours: object) -> str:
    """Both values, unless they are hashes that say nothing to a person."""
    texts = [str(theirs), str(ours)]
    return "" if any(len(text) == 64 for text in texts) else f" ({texts[0]}, now {texts[1]})"
