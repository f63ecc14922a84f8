"""Serve: the real deployments on a real cluster, with stages that are made here; one deployment for all."""

from __future__ import annotations

import random
import re
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from asked import request
from composers import AtOnce
from ray import serve
from ray.serve.exceptions import ReplicaUnavailableError

from emoray.emotion import Evidence
from emoray.errors import CheckpointError, ClusterError, ConfigError, MidiError
from emoray.notes import Notes, as_notes
from emoray.pipeline import serve_deployment as door
from emoray.pipeline.failures import is_transient
from emoray.pipeline.serve_engine import answer_all
from emoray.pipeline.worker import Loaders
from emoray.request import File, GenerationRequest, Prompt
from emoray.web.settings import HttpSettings, ServeSettings

pytestmark = pytest.mark.ray

TOKEN = "a token nobody guesses"
BUG, SLOW, HELD = 13, 99, 77
"""Random seeds with which the composer made here fails, takes its time, or waits until it may go on."""
SETTINGS = ServeSettings(
    app="test", max_batch_size=4, batch_wait=0.2, face_cpus=0.1, seed_cpus=0.1, composer_cpus=0.1
)


def note(notebook: Path, stage: str, size: int) -> None:
    with (notebook / stage).open("a") as lines:
        lines.write(f"{size}\n")


def read_faces(notebook: Path, pictures: Sequence[bytes]) -> list[Evidence]:
    note(notebook, "faces", len(pictures))
    return [Evidence(status="ok", label=1, valence=0.9, faces=1, backend="fake") for _ in pictures]


def read_seed(seed: File) -> Notes:
    if seed.content != b"good":
        raise MidiError(seed.name, "is not MIDI; export it again")
    return as_notes([0.0], [0.4], [60], [80])


def compose(notebook: Path, requests: Sequence[Prompt]) -> list[Notes]:
    note(notebook, "composer", len(requests))
    asked = {request.random_seed for request in requests}
    if BUG in asked:
        raise TypeError("a bug that one item brings out")
    while HELD in asked and not (notebook / "let go").exists():
        time.sleep(0.05)
    time.sleep(1.0 if SLOW in asked else 0.05)
    return [as_notes([1.0], [0.4], [one.random_seed % 128], [80]) for one in requests]


def stages(notebook: Path) -> Loaders:
    """Stages that write the size of each batch into the notebook."""
    return Loaders(
        faces=lambda settings: partial(read_faces, notebook),
        seeds=lambda settings: read_seed,
        composer=lambda settings: (AtOnce(partial(compose, notebook)), "none"),
    )


@dataclass
class Deployed:
    handle: Any
    url: str
    notebook: Path

    def sizes(self, stage: str) -> list[int]:
        """Of the batches since the last question."""
        page = self.notebook / stage
        lines = page.read_text().split() if page.exists() else []
        page.write_text("")
        return [int(line) for line in lines]


@pytest.fixture(scope="module")
def deployed(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    notebook = tmp_path_factory.mktemp("notebook")
    http = HttpSettings(port=free_port(), token=TOKEN, max_body=200_000)
    serve.shutdown()  # batches of other tests have left one without a door
    handle = door.deploy(SETTINGS, http=http, loaders=stages(notebook))
    yield Deployed(handle, f"http://127.0.0.1:{http.port}", notebook)
    door.delete(SETTINGS.app)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def item(random_seed: int, **fields: Any) -> GenerationRequest:
    fixed = {"seed": b"good", "random_seed": random_seed}
    return request(**{"name": f"row-{random_seed}", **fixed, **fields})


def ask(deployed: Deployed, items: Sequence[GenerationRequest], **settings: Any) -> list[Any]:
    fixed = {"window": 8, "timeout_s": 30.0, "attempts": 8, "jitter": random.Random(0)}
    return answer_all(deployed.handle, items, **{**fixed, **settings})


def post(deployed: Deployed, *, token: str = TOKEN, **sent: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} | sent.pop("headers", {})
    url = f"{deployed.url}/v1/generate"
    return httpx.post(url, headers=headers, timeout=30, verify=False, **sent)  # loads no certificates


def without_a_length(size: int) -> dict[str, Any]:
    """A form with one large file, sent piece by piece."""
    start = b'--b\r\nContent-Disposition: form-data; name="seed"; filename="s"\r\n\r\n'
    pieces = (piece for piece in [start, *[b"x" * 50_000] * (size // 50_000), b"\r\n--b--\r\n"])
    return {"content": pieces, "headers": {"content-type": "multipart/form-data; boundary=b"}}


def test_batches_fill_up_to_their_size(deployed):
    deployed.sizes("composer")
    results = ask(deployed, [item(i, image=b"face") for i in range(100, 124)])
    assert [result.id for result, _ in results] == [f"row-{i}" for i in range(100, 124)]
    assert {result.status for result, _ in results} == {"ok"}
    composed, seen = deployed.sizes("composer"), deployed.sizes("faces")
    assert sum(composed) == sum(seen) == 24
    assert max(composed) == max(seen) == 4
    assert len(composed) <= 9, "24 requests in batches of 4 are 6 full ones, give or take the ends"


def test_bad_items_fail_alone(deployed):
    results = ask(deployed, [item(1), item(2, seed=b"text"), item(BUG), item(5)])
    assert [result.status for result, _ in results] == ["ok", "failed", "failed", "ok"]
    assert results[1][0].error == "seed: is not MIDI; export it again"
    assert "unexpected TypeError" in (results[2][0].error or "")


def test_a_handle_can_be_found_by_name(deployed):
    ((result, _),) = answer_all(
        door.handle_of(SETTINGS.app), [item(7)], window=1, timeout_s=30, attempts=1, jitter=random.Random(0)
    )
    assert (result.status, result.notes) == ("ok", 1)


def test_an_application_that_is_not_there_is_named(deployed):
    with pytest.raises(ClusterError, match="nobody: is not deployed"):
        door.handle_of("nobody")


def test_a_post_is_answered_with_midi(deployed):
    response = post(deployed, files={"seed": b"good", "image": b"face"}, data={"random_seed": "64"})
    assert (response.status_code, response.content[:4]) == (200, b"MThd")
    assert response.headers["x-emoray-random-seed"] == "64"
    assert (response.headers["x-emoray-backend"], response.headers["x-emoray-image-status"]) == ("fake", "ok")


def test_the_same_post_gives_the_same_bytes(deployed):
    sent = {"files": {"seed": b"good"}, "data": {"emotion": "sad"}}
    first = post(deployed, **sent)
    named = {**sent["data"], "random_seed": first.headers["x-emoray-random-seed"]}
    assert post(deployed, **sent).content == first.content
    assert post(deployed, files=sent["files"], data=named).content == first.content


def test_the_door_refuses_with_the_right_status(deployed):
    emotion = {"emotion": "sad"}
    assert post(deployed, token="wrong", files={"seed": b"good"}, data=emotion).status_code == 401
    assert post(deployed, files={"seed": b"text"}, data=emotion).status_code == 422
    assert post(deployed, files={"seed": b"x" * 300_000}, data=emotion).status_code == 413
    assert post(deployed, **without_a_length(400_000)).status_code == 413
    assert post(deployed, json={}).status_code == 415


def test_health_and_documentation_are_served(deployed):
    health = httpx.get(f"{deployed.url}/healthz")
    assert (health.status_code, health.json()) == (200, {"status": "ok", "guidance": "none"})
    assert "/v1/generate" in httpx.get(f"{deployed.url}/openapi.json").json()["paths"]
    assert httpx.get(f"{deployed.url}/docs").status_code == 200


def test_logs_name_the_item_and_hold_neither_files_nor_token(deployed, ray_cluster, worker_log):
    """Whatever becomes of it: answered, refused, broken by a bug."""
    face, tune = b"a face nobody may see", b"a tune nobody may hear"
    ask(deployed, [item(301, seed=tune, image=face), item(BUG, name="row-bug", image=face)], attempts=1)
    for seed in (b"good", tune):
        post(deployed, files={"seed": seed, "image": face})
    post(deployed, token="a wrong token", files={"seed": tune})
    (refused,) = worker_log("row-301")
    assert (refused["level"], refused["message"]) == ("WARNING", "failed: seed: is not MIDI; export it again")
    (broken,) = worker_log("row-bug")
    assert (broken["level"], broken["message"]) == ("ERROR", "unexpected error")
    assert "TypeError" in broken["traceback"]
    for path in [path for path in ray_cluster.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        assert not [word for word in (face, tune, TOKEN.encode(), b"a wrong token") if word in data], path


def test_what_was_asked_is_counted(deployed, ray_cluster):
    import ray

    [node] = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    assert post(deployed, files={"seed": b"text"}, data={"emotion": "sad"}).status_code == 422
    wanted = [
        r'ray_emoray_http_requests_total{.*path="/v1/generate".*status="422"',
        r'ray_emoray_serve_requests_total{.*outcome="ok"',
        r'ray_emoray_serve_stage_seconds_bucket{.*application="test".*stage="composer"',
        r"ray_emoray_serve_notes_total{",
    ]
    for _ in range(60):
        text = httpx.get(url, timeout=10).text
        if missing := [line for line in wanted if not re.search(f"^{line}", text, flags=re.M)]:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(missing)


def test_a_crowd_is_told_to_come_back(deployed):
    """Those that wait for a composer are as many as it has room for; the others hear it at once."""
    sent = {"files": {"seed": b"good"}, "data": {"emotion": "sad", "random_seed": str(HELD)}}
    with ThreadPoolExecutor(60) as crowd:
        answers = [crowd.submit(post, deployed, **sent) for _ in range(60)]
        first = next(as_completed(answers))
        (deployed.notebook / "let go").touch()
    responses = [answer.result() for answer in answers]
    assert first.result().status_code == 503
    assert {response.status_code for response in responses} == {200, 503}
    assert all("retry-after" in response.headers for response in responses if response.status_code == 503)


def test_a_second_door_on_the_same_cluster_is_refused(deployed):
    with pytest.raises(ClusterError, match="already answers HTTP"):
        door.deploy(SETTINGS, http=HttpSettings(port=free_port()), loaders=stages(deployed.notebook))
    assert httpx.get(f"{deployed.url}/healthz").status_code == 200


def test_a_door_for_other_machines_is_refused_without_a_token(deployed):
    with pytest.raises(ConfigError, match="set a token"):
        door.serve_http(SETTINGS, HttpSettings(host="0.0.0.0"), ready=lambda _: None)


@pytest.fixture
def beside(deployed: Deployed) -> Iterator[Any]:
    """The handle of another application, for a batch."""
    yield door.deploy(
        ServeSettings(app="batch", max_batch_size=2, composer_cpus=0.1), loaders=stages(deployed.notebook)
    )
    door.delete("batch")
    assert set(serve.status().applications) == {SETTINGS.app}


def test_a_batch_beside_the_door_has_no_route_of_its_own_and_closes_when_all_is_answered(deployed, beside):
    """What comes later may come again."""
    routes = httpx.get(f"{deployed.url}/-/routes").json()
    assert set(routes.values()) == {SETTINGS.app}
    deployed.sizes("composer")
    under_way = [beside.generate.remote(item(SLOW)) for _ in range(6)]
    while not deployed.sizes("composer"):
        time.sleep(0.02)
    door.close(beside, timeout=30)
    assert [response.result(timeout_s=1).status for response in under_way] == ["ok"] * 6
    with pytest.raises(ReplicaUnavailableError) as late:
        beside.generate.remote(item(1)).result(timeout_s=30)
    assert is_transient(late.value)


def test_what_fails_when_it_is_deployed_stops_the_run_in_one_line(deployed):
    def broken(_: ServeSettings) -> Any:
        raise CheckpointError("runs/baseline", "is damaged; train it again")

    good = stages(deployed.notebook)
    settings = ServeSettings(app="broken", composer_cpus=0.1)
    with pytest.raises(
        ClusterError, match="broken: could not be deployed: runs/baseline: is damaged; train it"
    ):
        door.deploy(settings, loaders=Loaders(good.faces, good.seeds, broken))
    assert "broken" not in serve.status().applications


def test_a_cluster_that_is_too_small_is_refused_with_the_setting_to_lower(deployed):
    with pytest.raises(ClusterError, match=r"has 4 CPUs, this needs 10\.35; lower composer_replicas"):
        door.deploy(ServeSettings(composer_replicas=40), loaders=stages(deployed.notebook))


def test_ctrl_c_takes_the_application_down(monkeypatch):
    events: list[str] = []

    def ready(url: str) -> None:
        events.append(url)
        raise KeyboardInterrupt

    monkeypatch.setattr(door, "deploy", lambda settings, **_: events.append("deployed"))
    monkeypatch.setattr(door, "close", lambda handle, timeout: events.append("closed"))
    monkeypatch.setattr(door, "delete", lambda app: events.append(f"deleted {app}"))
    door.serve_http(SETTINGS, HttpSettings(host="::1", port=8123), ready=ready)
    assert events == ["deployed", "http://[::1]:8123", "closed", "deleted test"]
