from __future__ import annotations

import socket

import pytest

from emoray.cli import ray_session
from emoray.errors import ClusterError


def test_a_head_that_answers_no_more_ends_the_command_with_one_line(monkeypatch):
    monkeypatch.setattr(ray_session, "HEAD_SILENCE", 0.2)
    monkeypatch.setattr(ray_session, "HEAD_POLL", 0.05)
    monkeypatch.setattr(ray_session.os, "_exit", lambda code: said.append(f"exit {code}"))
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert ray_session.answers(address)
    ray_session._watch(address, said.append)
    assert said == [
        f"{address}: the head of the cluster is gone; start or join another and go on with --resume",
        "exit 2",
    ]


def test_a_head_that_answers_now_and_then_is_waited_for(monkeypatch):
    answers = iter([True, False, False, True, False, True])
    clock = iter(range(0, 1000, 10))

    def answering(_: str) -> bool:
        try:
            return next(answers)
        except StopIteration:
            raise KeyboardInterrupt from None  # the command has ended by itself

    monkeypatch.setattr(ray_session, "answers", answering)
    monkeypatch.setattr(ray_session.time, "sleep", lambda _: None)
    monkeypatch.setattr(ray_session.time, "monotonic", lambda: next(clock))
    with pytest.raises(KeyboardInterrupt):
        ray_session._watch("127.0.0.1:1", lambda text: pytest.fail(text))


@pytest.mark.parametrize(
    ("seconds", "address", "local", "started"),
    [
        (1.0, None, False, False),
        (100.0, None, False, True),
        (1.0, "ray://cluster", False, True),  # files may be where only the cluster sees them
        (1.0, "ray://cluster", True, False),
        (100.0, "ray://cluster", True, True),
    ],
)
def test_ray_starts_for_large_work_and_where_a_cluster_is_named(
    monkeypatch, seconds, address, local, started
):
    starts = []
    monkeypatch.setattr(ray_session, "start_ray", lambda *, local: starts.append(local))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    ray_session.start_ray_for(seconds, local=local)
    assert starts == [local] * started


def test_a_cluster_that_does_not_answer_is_one_line_before_ray_would_wait_for_it(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", gone)
    with pytest.raises(ClusterError, match=f"{gone}: does not answer; .* check RAY_ADDRESS or use --local"):
        ray_session.start_ray()
