"""Settings of Serve and the HTTP server, without Ray, so that the command line can read the defaults.

Units: sizes in bytes, times in seconds, CPUs as Ray counts them (a share of a core; nothing enforces it).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from emoray.config import GUIDANCE_MODES
from emoray.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What is deployed: how many replicas of each stage, and how much of a CPU each of them takes.

    The defaults take 0.6 CPUs, so a Ray Data job fits beside them on two cores.
    """

    checkpoint: Path | None = None
    """None: the one that ships with emoray. Every node must see the same path."""
    guidance: str | None = None
    """None: what the checkpoint prescribes, for requests that name none."""
    faces: str = "auto"
    """The face backend."""
    app: str = "emoray"
    """Name of the Serve application; two that run on one cluster need two names."""
    face_replicas: int = 1
    seed_replicas: int = 1
    composer_replicas: int = 1
    ingress_replicas: int = 1
    face_cpus: float = 0.15
    seed_cpus: float = 0.15
    composer_cpus: float = 0.25
    ingress_cpus: float = 0.05
    threads: int = 1
    """Of torch, in one composer."""
    max_batch_size: int = 64
    """Requests that one network composes at a time, and pictures in one call of the face reader."""
    batch_wait: float = 0.02
    """How long the first of a batch waits for others."""
    stage_timeout: float = 300.0
    """Of one call of a stage; a replica that takes longer is replaced, for nobody waits for it any more."""

    def __post_init__(self) -> None:
        if self.guidance is not None and self.guidance not in GUIDANCE_MODES:
            raise ConfigError("guidance", f"{self.guidance!r} is unknown; choose {', '.join(GUIDANCE_MODES)}")
        if not self.app:
            raise ConfigError("app", "must have a name")
        for name in ("face", "seed", "composer", "ingress"):
            _at_least(self, f"{name}_replicas", 1)
            _at_least(self, f"{name}_cpus", 0)
        _at_least(self, "threads", 1)
        _at_least(self, "max_batch_size", 1)
        _at_least(self, "batch_wait", 0)
        _at_least(self, "stage_timeout", 0)

    @property
    def in_flight(self) -> int:
        """Requests worth having under way: as many wait for each network as it is at."""
        return self.composer_replicas * 2 * self.max_batch_size


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """Where the server listens and what it accepts."""

    host: str = "127.0.0.1"
    """Any host that is not this machine itself needs a token."""
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    """Callers must send it as ``Authorization: Bearer TOKEN``; None lets everybody in."""
    max_body: int = 24_000_000
    """A larger POST is refused before it is parsed."""
    max_held: int = 256_000_000
    """Of all POSTs under way, in memory until they are answered; one more is told to come back."""
    timeout: float = 300.0
    """A request that takes longer is given up."""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:
            raise ConfigError("port", f"must lie in 1..65535, got {self.port}")
        if self.token is not None and not self.token.strip():
            raise ConfigError("token", "is empty; give one or none at all")
        _at_least(self, "max_body", 1)
        _at_least(self, "max_held", self.max_body)
        if not self.timeout > 0:
            raise ConfigError("timeout", f"must be a positive number, got {self.timeout}")


def environment_token() -> str | None:
    """The token in EMORAY_TOKEN; None if there is none, or an empty one."""
    return os.environ.get("EMORAY_TOKEN") or None


def _at_least(settings: object, name: str, least: float) -> None:
    value = getattr(settings, name)
    if not (least <= value < float("inf")):  # NaN is refused here too
        raise ConfigError(name.replace("_", " "), f"must be at least {least}, got {value!r}")
