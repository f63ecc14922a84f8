"""Server: a real `emoray serve` on loopback in a process of its own, and what is left when it ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from memory import psutil

LONGEST_START, LONGEST_STOP = 180.0, 90.0
"""Seconds."""


@dataclass
class Server:
    """A server that answers."""

    process: subprocess.Popen[bytes]
    url: str
    stopped_in: float | None = field(default=None, init=False)
    """Seconds that it took to stop, once it has."""
    left: list[str] = field(default_factory=list, init=False)
    """Processes of it that outlived it, and had to be ended."""

    def interrupt(self) -> None:
        """Ctrl-C, once; returns when the server has ended, and ends what it left behind."""
        if self.stopped_in is not None:
            return
        below = psutil.Process(self.process.pid).children(recursive=True)
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(LONGEST_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stopped_in = time.monotonic() - started
        _, alive = psutil.wait_procs(below, timeout=10)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                self.left.append(process.name())
                process.kill()


@contextlib.contextmanager
def serving(log: Path, *, token: str | None = None, checkpoint: Path | None = None) -> Iterator[Server]:
    """`emoray serve` on a free port, once it is healthy; what it says is in ``log``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    emoray = Path(sys.executable).with_name("emoray")
    command = [emoray, "serve", "--local", "--port", str(port)]
    command += ["--checkpoint", checkpoint] if checkpoint else []
    environment = os.environ | ({"EMORAY_TOKEN": token} if token else {})
    with log.open("wb") as said:
        process = subprocess.Popen(  # a Ctrl-C or a kill of this process's group is not the server's
            command, env=environment, stdout=said, stderr=said, start_new_session=True
        )
    server = Server(process, f"http://127.0.0.1:{port}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this process ends the server too
    try:
        _wait_until_healthy(server, log)
        yield server
    finally:
        server.interrupt()


def _wait_until_healthy(server: Server, log: Path) -> None:
    deadline = time.monotonic() + LONGEST_START
    while time.monotonic() < deadline and server.process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{server.url}/healthz", timeout=10).status_code == 200:
                return
        time.sleep(0.5)
    raise SystemExit(f"the server did not start: {log.read_text()[-2000:]}")
