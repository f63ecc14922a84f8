"""DeepFace's own code on a stand-in graph: the weights are not ours to ship, all else is the real thing."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from emoray.config import Limits
from emoray.errors import FaceError, WeightsError
from emoray.readers import deepface_weights, expression
from emoray.readers.expression import EXPRESSIONS, DeepFaceEmotion
from emoray.readers.face import FaceReader
from emoray.readers.pictures import decode_picture


@pytest.fixture(scope="module")
def home(stand_in, tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    deepface_weights.import_file(stand_in, folder)
    return folder


@pytest.fixture(scope="module")
def crops(portrait):
    """Five crops of one face, of different sizes and shapes."""
    picture = decode_picture(portrait, Limits())[90:340, 140:390]
    sizes = [(250, 250), (100, 120), (48, 48), (300, 200), (61, 61)]
    return [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for size in sizes]


def test_a_batch_says_what_analyze_says_of_each(home, crops, monkeypatch):
    network = DeepFaceEmotion(home)
    monkeypatch.setenv("DEEPFACE_HOME", str(home))
    from deepface import DeepFace

    batch = network.predict(crops)
    for row, crop in zip(batch, crops, strict=True):
        (one,) = DeepFace.analyze(crop, actions=["emotion"], detector_backend="skip", silent=True)
        expected = [one["emotion"][name] / 100 for name in EXPRESSIONS]
        np.testing.assert_allclose(row, expected, atol=1e-6)
    assert np.ptp(batch, axis=0).max() > 0.01  # the crops do differ


def test_one_crop_and_none_keep_the_shape(home, crops):
    network = DeepFaceEmotion(home)
    assert network.predict(crops[:1]).shape == (1, 7)
    assert network.predict([]).shape == (0, 7)


def test_auto_takes_deepface_once_its_weights_are_verified(home, portrait, caplog):
    reader = FaceReader("auto", weights=home)
    (evidence,) = reader.read([portrait])
    assert caplog.records == []
    assert evidence.faces == 1
    digest = deepface_weights.verify_weights(home).sha256
    assert evidence.backend.startswith("deepface: deepface 0.0.103, onnxruntime ")
    assert evidence.backend.endswith(f"imported weights {digest[:12]}")


def test_fetched_weights_are_not_called_imported(home, stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(deepface_weights, "URLS", ("stand-in.onnx",))
    deepface_weights.import_file(stand_in, tmp_path)
    assert ", weights " in DeepFaceEmotion(tmp_path).name


def test_a_picture_says_the_same_alone_and_in_any_company(home, portrait):
    picture = cv2.resize(
        decode_picture(portrait, Limits()), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA
    )
    pictures = [
        cv2.imencode(".png", np.clip(picture * (0.6 + 0.1 * i), 0, 255).astype(np.uint8))[1].tobytes()
        for i in range(10)
    ]
    reader = FaceReader("deepface", weights=home)
    assert reader.read(pictures) == [reader.read([data])[0] for data in pictures]


def test_changed_weights_are_refused_before_deepface_sees_them(stand_in, tmp_path, monkeypatch):
    deepface_weights.import_file(stand_in, tmp_path).path.write_bytes(b"changed")
    monkeypatch.setattr(expression, "_build_deepface", lambda _: pytest.fail("DeepFace was asked to load"))
    with pytest.raises(WeightsError, match="has changed since it was recorded"):
        DeepFaceEmotion(tmp_path)


def test_two_sets_of_weights_in_one_process_are_refused(home, monkeypatch):
    """DeepFace would go on with the first and say nothing."""
    monkeypatch.setitem(expression._deepface_loaded, "sha256", "0" * 64)
    with pytest.raises(FaceError, match="has other weights loaded in this process; start a new process"):
        DeepFaceEmotion(home)


def run(code: str, **environment: str) -> str:
    environment = os.environ | environment
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_a_fresh_worker_loads_quietly_on_the_onnx_engine_without_touching_the_users_home(
    home, tmp_path, monkeypatch
):
    code = f"""
import warnings, os, sys, pathlib
from emoray.readers.face import FaceReader
assert not {{"deepface", "onnxruntime", "torch", "cv2"}} & set(sys.modules)
before = list(warnings.filters)
reader = FaceReader("deepface", weights=pathlib.Path({str(home)!r}))
assert warnings.filters == before, "DeepFace silences all warnings"
assert "torch" not in sys.modules and "tensorflow" not in sys.modules
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1" and "DEEPFACE_HOME" not in os.environ
assert reader.backend.startswith("deepface: ")
"""
    monkeypatch.delenv("DEEPFACE_HOME", raising=False)
    assert run(code, HOME=str(tmp_path)) == ""
    assert list(tmp_path.iterdir()) == []


def test_another_engine_in_the_process_is_refused(home):
    code = f"""
import os, pathlib
os.environ |= {{"DEEPFACE_BACKEND_ENGINE": "pytorch", "DEEPFACE_HOME": {str(home)!r}}}
from deepface import DeepFace
from emoray.errors import FaceError
from emoray.readers.expression import DeepFaceEmotion
try:
    DeepFaceEmotion(pathlib.Path({str(home)!r}))
except FaceError as err:
    print(err)
"""
    assert run(code) == "deepface: runs on pytorch in this process already; start a new process\n"
