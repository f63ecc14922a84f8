"""Ray session: the one ``ray.init``, which joins a cluster or starts Ray for one command; lost heads.

Conventions
-----------
A command joins the cluster that ``RAY_ADDRESS`` names and no other; without one it starts Ray for itself, or
works without Ray if it would be done before Ray has started.

Ray waits a minute for a head that is gone and then ends the process without a sentence that a user could
understand. So a thread asks the head, and ends the command with one line. What a command had committed is
whole, so it can be resumed on another cluster.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from emoray import logs
from emoray.cli.shared import complain
from emoray.errors import ClusterError
from emoray.pipeline.resources import LIBRARIES

HEAD_SILENCE = 40.0
"""Seconds without an answer after which the head is lost: a head with fault tolerance is back before."""
HEAD_POLL = 2.0
"""Seconds between two questions to the head."""
POLLING = {
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.4",
    "LOG_NAME_UPDATE_INTERVAL_S": "5",
    "REPORTER_UPDATE_INTERVAL_MS": "10000",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
"""Variables of a Ray that a command starts for itself: how often it polls replicas, logs that nobody follows
and the machine's load. Ray's defaults take a tenth of a core. Nobody watches for a preemption either."""


def worker_environment(more: dict[str, str] | None = None) -> dict[str, Any]:
    """Ray's ``runtime_env`` of all workers, with ``more`` variables: they log as this process does."""
    variables = {**LIBRARIES, logs.VARIABLE: os.environ.get(logs.VARIABLE, "text"), **(more or {})}
    return {"env_vars": variables, "worker_process_setup_hook": f"{logs.__name__}.{logs.set_up.__name__}"}


def start_ray(*, local: bool = False, environment: dict[str, str] | None = None) -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine for this command alone.

    Args:
        local: start it even if a cluster is named.
        environment: variables of its workers, beside those of every command.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")  # progress is ours: progress.py
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S", "300")
    address = "local" if local else os.environ.get("RAY_ADDRESS", "local")
    here: dict[str, Any] = {}
    if address == "local":
        here["include_dashboard"] = False
        for name, pause in POLLING.items():  # before Ray reads them, when it is imported
            os.environ.setdefault(name, pause)
    elif re.fullmatch(r"[^/]+:\d+", address) and not answers(address):  # Ray takes minutes to find that out
        reason = "does not answer; start the cluster, check RAY_ADDRESS or use --local"
        raise ClusterError(address, reason)
    import ray

    if ray.is_initialized():
        return
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=worker_environment(environment),
            **here,
        )
    except (ConnectionError, ValueError, RuntimeError) as err:
        reason = f"cannot be joined ({str(err).splitlines()[0]}); check RAY_ADDRESS or use --local"
        raise ClusterError(address, reason) from err
    if address != "local":
        watch_head(ray.get_runtime_context().gcs_address, complain)
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))  # Ray set its own handler
    for name in ("ray.data", "ray.train", "ray.serve", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)


RAY_START = 12.0
"""Seconds until Ray and the workers of Ray Data have started on a machine."""


def start_ray_for(seconds: float, *, local: bool) -> None:
    """``start_ray``, unless no cluster is named and this process would be done before Ray has started.

    Args:
        seconds: what the work takes one core, roughly.
        local: leave a cluster that is named alone.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    if seconds > RAY_START or ("RAY_ADDRESS" in os.environ and not local):
        start_ray(local=local)


def watch_head(address: str, complain: Callable[[str], None]) -> None:
    """Watch the head at ``address`` (host:port) from a thread until this process ends."""
    threading.Thread(target=_watch, args=(address, complain), name="head", daemon=True).start()


def _watch(address: str, complain: Callable[[str], None]) -> None:
    answered = time.monotonic()
    while time.monotonic() - answered < HEAD_SILENCE:
        if answers(address):
            answered = time.monotonic()
        time.sleep(HEAD_POLL)
    complain(f"{address}: the head of the cluster is gone; start or join another and go on with --resume")
    os._exit(2)  # a call that waits for Ray would never see an exception


def answers(address: str) -> bool:
    """Whether something listens at ``address`` (host:port)."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError:
        return False
    return True
