from __future__ import annotations

import socket

import pytest

from emoray.cli import cluster_head


def test_a_head_that_answers_no_more_ends_the_command_with_one_line(monkeypatch):
    monkeypatch.setattr(cluster_head, "PATIENCE", 0.2)
    monkeypatch.setattr(cluster_head, "EVERY", 0.05)
    monkeypatch.setattr(cluster_head.os, "_exit", lambda code: said.append(f"exit {code}"))
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert cluster_head.answers(address)
    cluster_head._watch(address, said.append)
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

    monkeypatch.setattr(cluster_head, "answers", answering)
    monkeypatch.setattr(cluster_head.time, "sleep", lambda _: None)
    monkeypatch.setattr(cluster_head.time, "monotonic", lambda: next(clock))
    with pytest.raises(KeyboardInterrupt):
        cluster_head._watch("127.0.0.1:1", lambda text: pytest.fail(text))
