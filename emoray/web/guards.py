"""Guards: what stands before the HTTP app, and what is checked before a socket is opened. No Ray in here.

Conventions
-----------
A guard is raw ASGI: it sees headers and chunks before any parser does. A refusal is the same JSON as every
other error of the server.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import json
import math
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from emoray.errors import ConfigError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Refusal = tuple[int, str, str]
"""Status, subject and reason."""

ASSETS_PATH = "/docs/assets"
"""Script and style of the page at ``/docs`` are below it."""
OPEN_PATHS = ("/healthz", "/docs", "/openapi.json")
"""These need no token: they say nothing about anybody, and at ``/docs`` a token is typed in."""

RETRY_AFTER = 2
"""Seconds a caller is told to wait when the application is busy."""


class _Refused(Exception):
    """Stops an app that is reading a body; never leaves ``limited``."""


def guarded(app: App, *, token: str | None, max_body: int, max_held: float = math.inf) -> App:
    """The app behind its guards: first the token, then the size."""
    app = limited(app, max_body, max_held)
    return app if token is None else locked(app, token)


def observed(app: App, tell: Callable[[str, int], None]) -> App:
    """Tell path and status of every answer, the refusals of the guards included."""

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                tell(scope["path"], message["status"])
            await send(message)

        await app(scope, receive, telling)

    return guard


def locked(app: App, token: str) -> App:
    """Let only those in who send ``Authorization: Bearer TOKEN``; ``OPEN_PATHS`` are open to all."""

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "lifespan" or path in OPEN_PATHS or path.startswith(f"{ASSETS_PATH}/"):
            return await app(scope, receive, send)
        scheme, _, given = _header(scope, b"authorization").partition(b" ")
        right = hmac.compare_digest(given.strip(), token.encode())  # as slow for any wrong token
        if right and scheme.lower() == b"bearer":
            return await app(scope, receive, send)
        reason = f"is {'wrong' if given else 'missing'}; send it as 'Authorization: Bearer TOKEN'"
        return await _refuse(send, 401, "token", reason, {"www-authenticate": "Bearer"})

    return guard


@dataclass
class _Room:
    """Bytes of the bodies of all requests under way, and how many there may be."""

    max_body: int
    max_held: float
    held: int = 0

    def refusal(self, size: int, seen: int = 0) -> Refusal | None:
        """Why a body of ``size`` bytes, ``seen`` of which are held already, is not taken."""
        if size > self.max_body:
            return 413, "body", f"has more than {self.max_body:,} bytes; send smaller files"
        return busy() if self.held - seen + size > self.max_held else None


class _Body:
    """The body of one request while it arrives."""

    def __init__(self, room: _Room, declared: bytes, receive: Receive, send: Send) -> None:
        self._room, self._receive, self._send, self.seen = room, receive, send, 0
        digits = declared[:20]  # as many as show that it is too large: more would be slow to read
        self.refusal = room.refusal(int(digits) if digits.isdigit() else 0)

    async def receive(self) -> Message:
        message = await self._receive()
        if size := len(message.get("body", b"")):
            self.refusal = self._room.refusal(self.seen + size, self.seen)
            self.seen, self._room.held = self.seen + size, self._room.held + size
        if self.refusal is not None:
            raise _Refused
        return message

    async def send(self, message: Message) -> None:
        if self.refusal is None:  # else the app answers an interrupted body with an error of its own
            await self._send(message)


def limited(app: App, max_body: int, max_held: float = math.inf) -> App:
    """Refuse a body of more bytes, or one that the bodies of all requests under way leave no room for.

    By its header if it has one, else while it arrives.
    """
    room = _Room(max_body, max_held)

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        body = _Body(room, _header(scope, b"content-length"), receive, send)
        try:
            if body.refusal is None:
                with contextlib.suppress(_Refused):
                    await app(scope, body.receive, body.send)
            if body.refusal is not None:
                await _refuse(send, *body.refusal)
        finally:
            room.held -= body.seen
        return None

    return guard


def busy() -> Refusal:
    """A transient error: the caller is told when to come back."""
    return 503, "emoray", f"is busy or starting again; try again in {RETRY_AFTER} s"


def error_json(subject: str, reason: str) -> dict[str, dict[str, str]]:
    """The body of every error; half a surrogate pair, which no body can hold, is spelt out."""
    parts = {"subject": subject, "reason": reason}
    return {"error": {name: text.encode(errors="backslashreplace").decode() for name, text in parts.items()}}


def check_host(host: str, token: str | None) -> None:
    """Only this machine may listen without a token.

    Raises:
        ConfigError: the host can be reached from outside and there is no token, or it is no host.
    """
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as err:
        raise ConfigError("host", f"{host!r} is no address of this machine ({err}); try 127.0.0.1") from err
    addresses = {ipaddress.ip_address(str(address[0]).split("%")[0]) for *_, address in found}
    if token is None and not all(address.is_loopback for address in addresses):
        reason = f"{host!r} lets other machines in; set a token (EMORAY_TOKEN), or listen on 127.0.0.1"
        raise ConfigError("host", reason)


def check_port(host: str, port: int) -> None:
    """Whether the port is free. Ray shares a port that is in use with whoever has it, so this asks first.

    Raises:
        ConfigError: it is not.
    """
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just been closed is free
        try:
            probe.bind(address)
        except OSError as err:
            reason = f"{port} on {host} cannot be used ({err.strerror}); choose another"
            raise ConfigError("port", reason) from err


def _header(scope: Message, name: bytes) -> bytes:
    headers: Mapping[bytes, bytes] = dict(scope.get("headers", ()))
    return headers.get(name, b"")


async def _refuse(
    send: Send, status: int, subject: str, reason: str, headers: Mapping[str, str] | None = None
) -> None:
    body = json.dumps(error_json(subject, reason)).encode()
    lines = {"content-type": "application/json", "content-length": str(len(body))} | dict(headers or {})
    if status == 503:
        lines["retry-after"] = str(RETRY_AFTER)
    pairs = [(name.encode(), value.encode()) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
