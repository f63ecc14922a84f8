"""Doctor: what a machine has of what emoray needs, and the command that mends the rest."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

SETUP = "run `make setup`"
WITHOUT_DEPENDENCIES = ("fer", "tinysoundfont")
"""Packages that setup installs without what they ask for: requirements-no-deps.txt says why."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at."""

    name: str
    ok: bool
    detail: str
    remedy: str = SETUP
    optional: bool = False
    """Whether emoray works without it."""


def examine() -> list[Check]:
    """Look at everything; the order is that of the printout."""
    return [_python(), *_packages(), _checkpoint(), *_faces(), *_ray(), _disk()]


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check(
        name="python", ok=sys.version_info >= (3, 11), detail=found, remedy="install Python 3.11 or newer"
    )


def _packages() -> list[Check]:
    """Every requirement of ours that is not an extra, and those installed without dependencies."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires("emoray") or [] if "extra ==" not in line]
    except PackageNotFoundError:
        return [Check(name="emoray", ok=False, detail="is not installed")]
    checks = [_package(want.name, want) for want in wanted]
    return checks + [_package(name, Requirement(name)) for name in WITHOUT_DEPENDENCIES]


def _package(name: str, wanted: object) -> Check:
    from packaging.requirements import Requirement

    assert isinstance(wanted, Requirement)
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check(name=name, ok=False, detail="is not installed")
    fits = wanted.specifier.contains(found, prereleases=True)
    return Check(name=name, ok=fits, detail=found if fits else f"{found}, but {wanted.specifier} is needed")


def _checkpoint() -> Check:
    folder = Path(__file__).parent / "pretrained" / "expressive"
    there = (folder / "weights.safetensors").is_file()
    return Check(
        name="pretrained checkpoint",
        ok=there,
        detail=f"{folder.name}" if there else "is not there",
        remedy="clone emoray again: it ships in emoray/pretrained",
    )


def _faces() -> list[Check]:
    from emoray.readers.face_doctor import status

    return [
        Check(name=name, ok=ok, detail=detail, remedy="", optional=name.startswith("DeepFace"))
        for name, ok, detail in status()
    ]


def _ray() -> list[Check]:
    address = os.environ.get("RAY_ADDRESS")
    cluster = f"RAY_ADDRESS={address}" if address else "none named: commands start Ray on this machine"
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    mode = os.environ.get("RAY_AUTH_MODE", "")
    needs_mode = address is not None and token.is_file() and mode != "token"
    return [
        Check(name="cluster", ok=True, detail=cluster),
        Check(
            name="ray token",
            ok=not needs_mode,
            detail="RAY_AUTH_MODE is not token" if needs_mode else mode or "not needed on this machine alone",
            remedy="run `export RAY_AUTH_MODE=token`",
        ),
    ]


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return Check(
        name="free disk", ok=free > 1, detail=f"{free:.0f} GB here", remedy="free some space", optional=True
    )
