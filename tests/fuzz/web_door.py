"""The HTTP door for a fuzzer: a request as it lies on the wire to the app behind its guards, in this process.

What a server's own parser refuses (Serve's is uvicorn) never reaches the app, so it is left out here.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import MutableMapping
from functools import cache
from typing import Any
from urllib.parse import unquote

from emoray.notes import as_notes
from emoray.request import REQUEST_OPTIONS, GenerationRequest, Result
from emoray.web.app import build_app
from emoray.web.guards import App
from emoray.web.settings import HttpSettings

TOKEN = "t"
MAX_BODY = 2_000
STATUSES = {200, 307, 400, 401, 404, 405, 413, 415, 422}
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"[!-~]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")


async def _answer(item: GenerationRequest) -> Result:
    for name, value in item.asked.items():
        REQUEST_OPTIONS[name].check(value)
    pitches = [byte % 128 for byte in item.seed.content[:9]]
    music = as_notes(range(len(pitches)), [1.0] * len(pitches), pitches, [80] * len(pitches))
    return Result(id=item.id, label=1, valence=item.emotion, music=music)


async def _ready() -> str:
    return "seed"


@cache
def _apps() -> tuple[asyncio.AbstractEventLoop, App, App]:
    """A loop, the app that lets everybody in and the app that wants a token."""
    both = (
        build_app(_answer, _ready, lambda _: False, HttpSettings(token=token, max_body=MAX_BODY))
        for token in (None, TOKEN)
    )
    return asyncio.new_event_loop(), *both


def enter_http(data: bytes) -> bool:
    """Whether a request is done; one with an ``authorization`` header goes to the app that wants a token."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, _, target = first.partition(b" ")
    pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    if not (_NAME.fullmatch(method) and _TARGET.fullmatch(target)):
        return False
    if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in pairs):
        return False
    raw, _, query = target.partition(b"?")
    loop, opened, locked = _apps()
    app = locked if b"authorization" in dict(pairs) else opened
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method.decode(),
        "scheme": "http", "path": unquote(raw.decode()), "raw_path": raw, "query_string": query,
        "root_path": "", "headers": pairs, "client": ("127.0.0.1", 1), "server": ("door", 80),
    }  # fmt: skip
    return _status(loop.run_until_complete(_exchange(app, scope, body))) < 400


async def _exchange(app: App, scope: dict[str, Any], body: bytes) -> list[MutableMapping[str, Any]]:
    """All messages of the app; the body comes in two pieces."""
    middle = len(body) // 2
    coming = [
        {"type": "http.request", "body": body[:middle], "more_body": True},
        {"type": "http.request", "body": body[middle:], "more_body": False},
    ]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return coming.pop(0) if coming else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def _status(sent: list[MutableMapping[str, Any]]) -> int:
    """The status of an answer that is as it must be."""
    start, *rest = sent
    assert start["type"] == "http.response.start"
    assert {message["type"] for message in rest} == {"http.response.body"}
    assert start["status"] in STATUSES, start["status"]
    for name, value in start["headers"]:
        assert _NAME.fullmatch(name)
        assert _VALUE.fullmatch(value)
    if start["status"] >= 400:
        error = json.loads(b"".join(message.get("body", b"") for message in rest))["error"]
        assert error.keys() == {"subject", "reason"}
    return int(start["status"])


def _form(*fields: tuple[str, str], charset: str = "", more: str = "") -> bytes:
    parts = "".join(
        f"--B\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n" for name, value in fields
    )
    kind = f"Content-Type: multipart/form-data; boundary=B{charset}\r\n{more}"
    return f"POST /v1/generate\r\n{kind}\r\n{parts}--B--\r\n".encode()


_SEED = ('name="seed"; filename="a.mid"', "MThd")
HTTP_SEEDS = [
    _form(_SEED, ('name="emotion"', "happy")),
    _form(_SEED, ('name="image"; filename="b.png"', "PNG"), more="Authorization: Bearer t\r\n"),
    _form(_SEED, ('name="curve"', "[[0, 1], [2, -1, 0]]"), ('name="notes"', "4"), ('name="seconds"', "2.5")),
    _form(_SEED, ('name="emotion"', "0.5"), ('name="arousal"', "-1"), ('name="without_seed"', "true"),
          ('name="strength"', "2"), ('name="top_p"', "0.9"), ('name="random_seed"', "7")),
    _form(_SEED, ('name="no option"', "1"), charset="; charset=utf-8", more="Content-Length: 200\r\n"),
    _form(("name*=utf-8''seed; filename*=utf-8''a%20b", "x"), ('name="guidance"', "cfg")),
    b"GET /healthz\r\n\r\n",
    b"GET /openapi.json?x=1\r\nAuthorization: Basic dA==\r\n\r\n",
    b"POST /v1/generate\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nseed=1&emotion=%ff",
    b"POST /v1/generate/\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{}",
]  # fmt: skip
HTTP_WORDS = tuple(
    b"multipart/form-data; boundary=|charset=|utf-7|utf-16|idna|unicode_escape|--B\r\n|filename=|filename*="
    b'|Content-Disposition: form-data; name="|Content-Length: |Authorization: |Bearer t|Content-Type: '
    b"|\r\n\r\n|Content-Transfer-Encoding: base64|+2AA-|%ff".split(b"|")
)
