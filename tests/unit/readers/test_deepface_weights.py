from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from emoray import doctor
from emoray.errors import WeightsError
from emoray.readers import deepface_weights

FETCH = """
import pathlib, sys
from emoray.readers import deepface_weights
print(deepface_weights.fetch(pathlib.Path(sys.argv[1]), sys.argv[2]).sha256)
"""


class Mirror(ThreadingHTTPServer):
    """A mirror on loopback: ``/whole``, ``/slow``, ``/cut`` (stops half way), ``/page`` (not a model)."""

    daemon_threads = True

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.data = data
        self.asked: list[str] = []
        self.stalled = threading.Event()
        self.go_on = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Answer(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        data, half = self.server.data, len(self.server.data) // 2
        self.server.asked.append(self.path)
        if self.path == "/gone":
            self.send_error(404)
            return
        if self.path == "/page":
            data = b"<html>Please log in</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:half])
        if self.path == "/cut":
            return
        if self.path == "/slow":
            self.wfile.flush()
            self.server.stalled.set()
            self.server.go_on.wait(60)
        self.wfile.write(data[half:])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(stand_in, monkeypatch) -> Iterator[Mirror]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Mirror(stand_in.read_bytes()) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.go_on.set()
        server.shutdown()


def files(home: Path) -> list[str]:
    return sorted(
        path.name for path in deepface_weights.weights_path(home).parent.iterdir() if path.suffix != ".lock"
    )


BOTH = [deepface_weights.NAME, f"{deepface_weights.NAME}.json"]


def test_an_imported_file_is_recorded_and_verified(stand_in, tmp_path):
    put = deepface_weights.import_file(stand_in, tmp_path)
    assert put.path == tmp_path / ".deepface" / "weights" / "facial_expression_model_weights.onnx"
    assert put.sha256 == hashlib.sha256(stand_in.read_bytes()).hexdigest()
    assert put == deepface_weights.verify_weights(tmp_path) == deepface_weights.locate(tmp_path)
    assert (put.origin, put.official) == ("stand-in.onnx", False)
    assert files(tmp_path) == BOTH


def test_the_home_is_deepfaces_own(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path / "a"))
    assert deepface_weights.home_folder() == tmp_path / "a"
    monkeypatch.delenv("DEEPFACE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "b"))
    assert deepface_weights.home_folder() == tmp_path / "b"
    assert deepface_weights.home_folder(tmp_path / "c") == tmp_path / "c"


def test_missing_weights_name_both_commands(tmp_path):
    assert deepface_weights.locate(tmp_path) is None
    with pytest.raises(
        WeightsError, match=r"is missing; run `emoray weights fetch`, or .*emoray weights import FILE"
    ):
        deepface_weights.verify_weights(tmp_path)


def test_a_file_that_nobody_recorded_is_not_used_until_it_is_imported_in_place(stand_in, tmp_path):
    path = deepface_weights.weights_path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(stand_in.read_bytes())
    with pytest.raises(WeightsError, match=f"has no record of its hash; run `emoray weights import {path}`"):
        deepface_weights.verify_weights(tmp_path)
    deepface_weights.import_file(path, tmp_path)
    assert deepface_weights.verify_weights(tmp_path).origin == deepface_weights.NAME


def test_a_file_that_changed_later_is_refused(stand_in, tmp_path):
    path = deepface_weights.import_file(stand_in, tmp_path).path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="has changed since it was recorded"):
        deepface_weights.verify_weights(tmp_path)


@pytest.mark.parametrize("record", ["", "[]", '{"sha256": "x", "colour": 1}'])
def test_a_damaged_record_is_no_record(stand_in, tmp_path, record):
    path = deepface_weights.import_file(stand_in, tmp_path).path
    path.with_name(f"{path.name}.json").write_text(record)
    with pytest.raises(WeightsError, match="has no record"):
        deepface_weights.verify_weights(tmp_path)


def test_what_is_not_the_model_is_refused_and_leaves_the_old_file(stand_in, tmp_path):
    good = deepface_weights.import_file(stand_in, tmp_path)
    whole = stand_in.read_bytes()
    for name, data in {"empty": b"", "text": b"hello", "cut": whole[: len(whole) // 2]}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(WeightsError, match=f"{name}: is not a working emotion model for ONNX"):
            deepface_weights.import_file(tmp_path / name, tmp_path)
    with pytest.raises(WeightsError, match="gone: cannot be read"):
        deepface_weights.import_file(tmp_path / "gone", tmp_path)
    assert deepface_weights.verify_weights(tmp_path) == good
    assert files(tmp_path) == BOTH


def test_another_graph_is_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    box = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 48, 48, 1])
    node = helper.make_node("Identity", ["x"], ["y"])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 48, 48, 1])
    graph = helper.make_graph([node], "identity", [box], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "identity.onnx"))
    with pytest.raises(WeightsError, match="does not give seven probabilities a face"):
        deepface_weights.import_file(tmp_path / "identity.onnx", tmp_path)


def test_a_pinned_hash_is_kept(stand_in, mirror, tmp_path):
    right = hashlib.sha256(stand_in.read_bytes()).hexdigest()
    for bring in (
        lambda pin: deepface_weights.import_file(stand_in, tmp_path, sha256=pin),
        lambda pin: deepface_weights.fetch(tmp_path, mirror.url("whole"), sha256=pin),
    ):
        with pytest.raises(WeightsError, match=f"has sha256 {right}, not the one asked for"):
            bring("0" * 64)
        assert bring(right.upper()).sha256 == right


def test_a_fetched_file_is_recorded_with_its_address_and_fetched_once(mirror, tmp_path):
    fetched = deepface_weights.fetch(tmp_path, mirror.url("whole"))
    assert (
        fetched
        == deepface_weights.fetch(tmp_path, mirror.url("whole"))
        == deepface_weights.verify_weights(tmp_path)
    )
    assert mirror.asked == ["/whole"]
    record = json.loads(fetched.path.with_name(f"{deepface_weights.NAME}.json").read_text())
    assert record == {"sha256": fetched.sha256, "size": len(mirror.data), "origin": mirror.url("whole")}


def test_a_damaged_file_is_fetched_again(mirror, tmp_path):
    path = deepface_weights.fetch(tmp_path, mirror.url("whole")).path
    path.write_bytes(b"damaged")
    deepface_weights.fetch(tmp_path, mirror.url("whole"))
    assert path.read_bytes() == mirror.data


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("cut", "cut the file short"),
        ("page", "not a working"),
        ("gone", "does not answer .*Not Found"),
    ],
)
def test_a_download_that_goes_wrong_never_lands(mirror, tmp_path, path, reason):
    with pytest.raises(WeightsError, match=f"was not fetched .*{reason}.*`emoray weights import FILE`"):
        deepface_weights.fetch(tmp_path, mirror.url(path))
    assert files(tmp_path) == []


def test_the_second_address_is_tried_when_the_first_fails(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(deepface_weights, "URLS", (mirror.url("cut"), mirror.url("whole")))
    fetched = deepface_weights.fetch(tmp_path)
    assert fetched.official
    assert mirror.asked == ["/cut", "/whole"]


def test_a_local_file_is_imported_and_not_fetched(stand_in, tmp_path):
    with pytest.raises(WeightsError, match="is not a web address"):
        deepface_weights.fetch(tmp_path, stand_in.as_uri())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://[", "no-address"])
def test_an_address_that_cannot_answer_is_an_error_with_the_remedy(tmp_path, url):
    with pytest.raises(WeightsError, match=r"fetch .* on a machine with network access and run"):
        deepface_weights.fetch(tmp_path, url)


def test_a_folder_that_cannot_be_written_is_an_error(stand_in, tmp_path):
    (tmp_path / ".deepface").write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match=r"cannot be written .* choose another folder with --to"):
        deepface_weights.import_file(stand_in, tmp_path)


def start(home: Path, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", FETCH, str(home), url], stdout=subprocess.PIPE, text=True)


def test_two_processes_that_fetch_together_end_with_one_good_file(mirror, tmp_path):
    both = [start(tmp_path, mirror.url("slow")) for _ in range(2)]
    assert mirror.stalled.wait(60)
    time.sleep(0.5)  # so the other one has reached the lock, or would be downloading too
    mirror.go_on.set()
    hashes = {process.communicate(timeout=60)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert hashes == {deepface_weights.verify_weights(tmp_path).sha256}
    assert mirror.asked == ["/slow"]
    assert files(tmp_path) == BOTH


def test_a_fetch_that_is_killed_leaves_no_file_and_no_lock(mirror, tmp_path):
    with start(tmp_path, mirror.url("slow")) as process:
        assert mirror.stalled.wait(60)
        process.send_signal(signal.SIGKILL)
    assert deepface_weights.locate(tmp_path) is None
    mirror.go_on.set()
    deepface_weights.fetch(tmp_path, mirror.url("whole"))
    assert files(tmp_path) == BOTH


def test_the_doctor_names_every_part_and_what_mends_it(stand_in, tmp_path, monkeypatch):
    before = {check.name: (check.ok, check.detail) for check in doctor._faces(tmp_path)}
    assert list(before) == ["face detector", "fer-mini network", "DeepFace engine", "DeepFace weights"]
    assert [ready for ready, _ in before.values()] == [True, True, True, False]
    assert "emoray weights fetch" in before["DeepFace weights"][1]
    put = deepface_weights.import_file(stand_in, tmp_path)
    monkeypatch.setattr(doctor, "DEEPFACE_ENGINE", ("no-such-package",))
    after = {check.name: (check.ok, check.detail) for check in doctor._faces(tmp_path)}
    assert after["DeepFace weights"] == (True, f"{put.path}, sha256 {put.sha256}, from stand-in.onnx")
    assert after["DeepFace engine"] == (
        False,
        "no-such-package is not installed; run `pip install no-such-package`",
    )
