"""What several reader tests share: a free photograph, and a stand-in for DeepFace's weights."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def portrait() -> bytes:
    """Grace Hopper in uniform, not smiling: a public-domain photograph that ships inside matplotlib."""
    import matplotlib

    return (Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").read_bytes()


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph that DeepFace's ONNX engine runs in place of its own: mini_XCEPTION from [n, 48, 48, 1]."""
    import torch
    from torch.nn.functional import interpolate

    from emoray.readers import expression

    class StandIn(torch.nn.Module):
        layers = expression.read_layers(expression.verified_fer_weights())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            larger = interpolate(x.permute(0, 3, 1, 2), (64, 64), mode="bilinear", align_corners=False)
            return expression.forward(self.layers, larger * 2 - 1)

    path = tmp_path_factory.mktemp("stand-in") / "stand-in.onnx"
    names = {"input_names": ["x"], "output_names": ["p"], "dynamic_axes": {"x": {0: "n"}, "p": {0: "n"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather export through onnxscript
        torch.onnx.export(StandIn(), (torch.zeros(2, 48, 48, 1),), str(path), dynamo=False, **names)
    return path
