"""DeepFace's emotion model, on its ONNX engine and through its own batched ``predict``.

Conventions
-----------
A crop is [h, w, 3] uint8 (blue, green, red); probabilities are [n, 7] float32 in the order of
``expression.CLASSES``. Only arrays go in, never a string: DeepFace takes one for a file or a web address.

DeepFace downloads what it lacks. Here the weights are verified before it is asked to load them, so a worker
never downloads. One process holds one set of weights: DeepFace keeps the model it built first.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoray.errors import FaceError
from emoray.readers import weights
from emoray.readers.pictures import Picture

SIDE = 224
"""Pixels to which DeepFace pads a face before it shrinks it to 48."""

_building = threading.Lock()  # DeepFace's own cache of models has none
_built: dict[str, str] = {}  # {"sha256": of the weights this process has loaded}


class DeepFaceEmotion:
    """Expression probabilities by DeepFace."""

    margin = 0.0
    """DeepFace crops at the detector's box."""

    def __init__(self, home: Path | None = None) -> None:
        """Verify and load the weights under ``home`` (see ``weights.home_folder``).

        Raises:
            WeightsError: they are missing or not what was recorded.
            FaceError: this process runs DeepFace with another engine or other weights already.
        """
        with _building:
            found = weights.verify(home)
            if _built.get("sha256", found.sha256) != found.sha256:
                raise FaceError("deepface", "has other weights loaded in this process; start a new process")
            self._client = _build(weights.home_folder(home))
            _built["sha256"] = found.sha256
        kind = "weights" if found.official else "imported weights"
        engine = f"onnxruntime {version('onnxruntime')}"
        self.name = f"deepface: deepface {version('deepface')}, {engine}, {kind} {found.sha256[:12]}"

    def predict(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        """[n] crops to [n, 7] probabilities: what ``DeepFace.analyze`` says of each, in one call."""
        if not crops:
            return np.empty((0, 7), np.float32)
        from deepface.modules.preprocessing import resize_image

        batch = np.concatenate([resize_image(crop / np.float32(255), (SIDE, SIDE)) for crop in crops])
        answer = self._client.predict(batch)  # a single face comes back without its first dimension
        return np.asarray(answer, dtype=np.float32).reshape(len(crops), 7)


def _build(home: Path) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # both must stand before the first import
    os.environ["DEEPFACE_BACKEND_ENGINE"] = "onnx"
    os.environ.setdefault("DEEPFACE_LOG_LEVEL", "40")  # it prints to standard output otherwise
    with _deepface_home(home), warnings.catch_warnings():  # its import silences every warning for good
        warnings.simplefilter("ignore")
        from deepface import DeepFace
        from deepface.commons.backend_utils import get_backend_engine

        if (engine := get_backend_engine()) != "onnx":
            raise FaceError("deepface", f"runs on {engine} in this process already; start a new process")
        return DeepFace.build_model("Emotion", task="facial_attribute")


@contextmanager
def _deepface_home(home: Path) -> Iterator[None]:
    """DeepFace reads its home from the environment, at import and when it builds a model."""
    before = os.environ.get("DEEPFACE_HOME")
    os.environ["DEEPFACE_HOME"] = str(home)
    try:
        yield
    finally:
        if before is None:
            del os.environ["DEEPFACE_HOME"]
        else:
            os.environ["DEEPFACE_HOME"] = before
