"""Guards: the raw ASGI in front of the app, called without a server, and what is checked before it starts."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from emoray.errors import ConfigError
from emoray.web.guards import check_host, check_port, guarded, limited, observed

TOKEN = "a token nobody guesses"


async def reading_app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the number of bytes it was sent."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


async def stubborn_app(scope: Any, receive: Any, send: Any) -> None:
    """Makes an answer of its own of whatever goes wrong while it reads, as FastAPI does."""
    try:
        await reading_app(scope, receive, send)
    except Exception:  # noqa: BLE001 that is what it is for
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b"mine"})


def called(app: Any, *chunks: bytes, path: str = "/v1/generate", **headers: str) -> tuple[int, bytes, int]:
    """(status, body, chunks that were read) of one POST."""
    names = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "method": "POST", "headers": names}
    waiting, sent = list(chunks), []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start, body = sent
    return start["status"], body["body"], len(chunks) - len(waiting)


def test_a_body_as_large_as_allowed_passes():
    assert called(limited(reading_app, 6), b"abc", b"def") == (200, b"6", 2)


def test_a_declared_body_that_is_too_large_is_refused_unread():
    status, body, read = called(limited(reading_app, 6), b"abcdefg", content_length="7")
    assert (status, read) == (413, 0)
    assert json.loads(body)["error"]["subject"] == "body"


@pytest.mark.parametrize("app", [reading_app, stubborn_app])
def test_a_body_without_a_length_is_counted_and_refused_as_soon_as_it_is_too_large(app):
    assert called(limited(app, 6), b"abc", b"def", b"g", b"never read")[::2] == (413, 3)


def test_a_body_that_lies_about_its_length_is_counted():
    assert called(limited(reading_app, 6), b"abcdefg", content_length="1")[0] == 413


@pytest.mark.parametrize("headers", [{}, {"content_length": "4"}])
def test_bodies_that_are_held_leave_room_or_the_next_is_told_to_come_back(headers):
    """All in memory at once is what a crowd of large pictures would cost."""
    inner: list[tuple[int, bytes]] = []

    async def holding(scope: Any, receive: Any, send: Any) -> None:
        if not inner:  # while the first body is held, a second one comes
            inner.append((0, b""))
            await receive()
            inner[0] = await asyncio.to_thread(lambda: called(app, b"abcd", **headers)[:2])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        await (reading_app if inner else holding)(scope, receive, send)

    app = limited(reading, 6, 8)
    assert called(app, b"abcdef")[0] == 200
    assert inner[0][0] == 503
    assert json.loads(inner[0][1])["error"]["subject"] == "emoray"
    assert called(app, b"abcdef")[0] == 200, "what has been answered is no longer held"


def test_a_refusal_for_want_of_room_says_when_to_come_back():
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/", "headers": [(b"content-length", b"3")]}
    asyncio.run(limited(reading_app, 6, 2)(scope, None, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 503
    assert int(dict(sent[0]["headers"])[b"retry-after"]) > 0


def test_every_answer_is_told_with_its_status_refusals_too():
    told: list[tuple[str, int]] = []
    app = observed(limited(reading_app, 6), lambda path, status: told.append((path, status)))
    called(app, b"abc")
    called(app, b"abcdefg", path="/elsewhere")
    assert told == [("/v1/generate", 200), ("/elsewhere", 413)]


def test_an_error_of_the_app_itself_is_not_hidden():
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        called(limited(broken, 6), b"abc")


@pytest.mark.parametrize("given", ["Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer ", f"Bearer {TOKEN}x"])
def test_a_wrong_token_is_refused_before_the_body_is_read(given):
    app = guarded(reading_app, token=TOKEN, max_body=6)
    status, body, read = called(app, b"abc", authorization=given)
    assert (status, read) == (401, 0)
    assert TOKEN not in body.decode()


def test_without_a_token_the_answer_says_how_to_send_it():
    status, body, _ = called(guarded(reading_app, token=TOKEN, max_body=6), b"abc")
    assert (status, json.loads(body)["error"]["subject"]) == (401, "token")
    assert "Authorization: Bearer" in body.decode()


def test_the_right_token_lets_in():
    app = guarded(reading_app, token=TOKEN, max_body=6)
    assert called(app, b"abc", authorization=f"bearer {TOKEN}")[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/openapi.json", "/docs/assets/x.js"])
def test_health_and_documentation_need_no_token(path):
    assert called(guarded(reading_app, token=TOKEN, max_body=6), b"", path=path)[0] == 200


@pytest.mark.parametrize(
    "path", ["/", "//healthz", "/healthz/", "/docs/", "/docs/assets", "/v1/generate", "/x"]
)
def test_every_other_path_needs_it(path):
    assert called(guarded(reading_app, token=TOKEN, max_body=6), b"", path=path)[0] == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_this_machine_alone_needs_no_token(host):
    check_host(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "::ffff:192.0.2.1"])
def test_a_host_that_others_can_reach_is_refused_without_a_token(host):
    with pytest.raises(ConfigError, match=r"host: .* lets other machines in; set a token"):
        check_host(host, None)
    check_host(host, TOKEN)


def test_a_host_that_is_none_is_refused_even_with_a_token():
    with pytest.raises(ConfigError, match="is no address of this machine"):
        check_host("no such host", TOKEN)


def test_a_port_in_use_is_refused_even_if_its_owner_would_share_it():
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"port: \d+ on 127\.0\.0\.1 cannot be used"):
            check_port("127.0.0.1", taken.getsockname()[1])
    check_port("127.0.0.1", taken_port := _free_port())
    assert taken_port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
