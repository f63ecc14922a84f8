"""Requests of every kind, good and bad, each with the status that it must get."""

import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from emoray.demo.files import write_demo

TOKEN = "a token for the soak"
HUGE = 25_000_000
"""Bytes; the server takes 24 million."""
BUSY = (429, 503)
HANGS = 400.0
"""Seconds without an answer; the server itself gives up at 360."""


@dataclass(frozen=True)
class Outcome:
    """What became of one request."""

    kind: str
    wrong: str | None
    """What it got instead of what it must; None if all is well."""
    busy: bool
    seconds: float


@dataclass(frozen=True)
class Kind:
    """A kind of request."""

    name: str
    weight: float
    status: int
    """The status that the request must get; one that must get 200 may also be rejected as busy."""
    sent: Callable[[int], dict[str, Any]]
    """What httpx posts, by the number of the request."""


def kinds(folder: Path, notes: int) -> list[Kind]:
    """All of them; files are made in a folder."""
    demo = write_demo(folder)
    seed = (demo.manifest.parent / "seeds" / "minuet_in_g.mid").read_bytes()
    hummed, portrait = demo.hummed.read_bytes(), demo.picture.read_bytes() if demo.picture else b""
    length = str(notes)

    def form(files: dict[str, bytes], **data: str) -> Callable[[int], dict[str, Any]]:
        return lambda number: {
            "files": files, "data": {"notes": length, "random_seed": str(number)} | data
        }  # fmt: skip

    def sad(_: int) -> dict[str, Any]:
        return {"files": {"seed": seed}, "data": {"emotion": "sad", "notes": length}}

    huge, broken = b"x" * HUGE, portrait[: len(portrait) // 2]
    return [
        Kind("good", 60, 200, form({"seed": seed}, emotion="happy")),
        Kind("good, by picture", 8, 200, form({"seed": seed, "image": portrait}, emotion="sad")),
        Kind("good, recording", 1, 200, form({"seed": hummed}, emotion="sad")),
        Kind("no MIDI", 5, 422, form({"seed": b"text"}, emotion="sad")),
        Kind("MIDI cut short", 5, 422, form({"seed": seed[:40]}, emotion="sad")),
        Kind("no seed", 3, 422, form({"image": portrait}, emotion="sad")),
        Kind("no emotion", 3, 422, form({"seed": seed})),
        Kind("unknown emotion", 3, 422, form({"seed": seed}, emotion="hungry")),
        Kind("unknown option", 3, 422, form({"seed": seed}, emotion="sad", colour="red")),
        Kind("option out of range", 3, 422, form({"seed": seed}, emotion="sad", temperature="-1")),
        Kind("no picture", 3, 422, form({"seed": seed, "image": b"text"})),
        Kind("half a picture", 2, 422, form({"seed": seed, "image": broken[:2000]})),
        Kind("wrong token", 3, 401, lambda number: sad(number) | {"headers": {"authorization": "Bearer no"}}),
        Kind("JSON", 1, 415, lambda _: {"json": {}}),
        Kind("no files", 1, 415, form({}, emotion="sad")),
        Kind("huge", 0.5, 413, form({"seed": huge}, emotion="sad")),
        Kind("huge, no length", 0.5, 413, lambda _: _without_length(huge)),
        Kind("leaves while sending", 3, 0, sad),
        Kind("leaves while waiting", 3, 0, sad),
    ]


def _without_length(body: bytes) -> dict[str, Any]:
    start = b'--b\r\nContent-Disposition: form-data; name="seed"; filename="s"\r\n\r\n'
    step = 1_000_000
    pieces = [start, *(body[first : first + step] for first in range(0, len(body), step)), b"\r\n--b--\r\n"]
    return {"content": iter(pieces), "headers": {"content-type": "multipart/form-data; boundary=b"}}


def ask(url: str, kind: Kind, number: int) -> Outcome:
    """Send one request, and judge what comes back."""
    started = time.monotonic()
    busy, wrong = False, None
    sent = kind.sent(number)
    headers = {"authorization": f"Bearer {TOKEN}"} | sent.pop("headers", {})
    try:
        if not kind.status:
            _leave(url, httpx.Request("POST", f"{url}/v1/generate", headers=headers, **sent), kind.name)
        else:
            answer = httpx.post(f"{url}/v1/generate", headers=headers, timeout=HANGS, verify=False, **sent)
            busy = answer.status_code in BUSY and "retry-after" in answer.headers
            right = answer.status_code == kind.status or (kind.status == 200 and busy)
            wrong = None if right else f"{answer.status_code} {answer.text[:120]}"
    except httpx.TimeoutException:
        wrong = "no answer"
    except httpx.HTTPError as err:
        wrong = type(err).__name__
    return Outcome(kind.name, wrong, busy, time.monotonic() - started)


def _leave(url: str, request: httpx.Request, name: str) -> None:
    """Hang up half way: in the middle of the body, or once it is sent."""
    address, body = urlsplit(url), request.read()
    head = [f"POST {address.path or '/v1/generate'} HTTP/1.1"]
    head += [f"{key}: {value}" for key, value in request.headers.items()]
    with socket.create_connection((address.hostname, address.port), timeout=HANGS) as line:
        line.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body[: len(body) // 2])
        if name == "leaves while waiting":
            line.sendall(body[len(body) // 2 :])
            time.sleep(0.2)


def sampled_kind(kinds: list[Kind], random_seed: int) -> Callable[[int], Kind]:
    """The kind of each request, by its number alone."""
    weights = [kind.weight for kind in kinds]
    return lambda number: random.Random(f"{random_seed} {number}").choices(kinds, weights)[0]
