"""Guards: what stands before the HTTP app, and what is checked before a socket is opened. No Ray in here.

Conventions
-----------
A guard is raw ASGI: it sees headers and chunks before any parser does. A refusal is the same JSON as every
other error of the door.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from emoray.errors import ConfigError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN_PATHS = ("/healthz", "/docs", "/openapi.json")
"""Need no token: they say nothing of anybody, and the page at /docs is where a token is typed in."""


class _TooLarge(Exception):
    """Stops an app that is reading a body; never leaves ``limited``."""


def guarded(app: App, *, token: str | None, max_body: int) -> App:
    """The app behind its guards: first the token, then the size."""
    app = limited(app, max_body)
    return app if token is None else locked(app, token)


def locked(app: App, token: str) -> App:
    """Let in only who sends ``Authorization: Bearer TOKEN``; ``OPEN_PATHS`` are open to all."""

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope.get("path") in OPEN_PATHS:
            return await app(scope, receive, send)
        scheme, _, given = _header(scope, b"authorization").partition(b" ")
        right = hmac.compare_digest(given.strip(), token.encode())  # as slow for any wrong token
        if right and scheme.lower() == b"bearer":
            return await app(scope, receive, send)
        reason = f"is {'wrong' if given else 'missing'}; send it as 'Authorization: Bearer TOKEN'"
        return await _refuse(send, 401, "token", reason, {"www-authenticate": "Bearer"})

    return guard


def limited(app: App, max_body: int) -> App:
    """Refuse a body of more bytes: by its header if it has one, else while it arrives."""

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        declared = _header(scope, b"content-length")[:20]  # as many digits as show that it is too large
        seen = int(declared) if declared.isdigit() and int(declared) > max_body else 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > max_body:
                raise _TooLarge
            return message

        async def unless_too_large(message: Message) -> None:
            if seen <= max_body:  # else the app answers an interrupted body with an error of its own
                await send(message)

        if seen <= max_body:
            with contextlib.suppress(_TooLarge):
                await app(scope, counted, unless_too_large)
        if seen > max_body:
            await _refuse(send, 413, "body", f"has more than {max_body:,} bytes; send smaller files")
        return None

    return guard


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
    pairs = [(name.encode(), value.encode()) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
