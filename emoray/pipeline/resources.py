"""Resources: what the cluster has, what waits for it, and the environment variables of Ray's processes.

Conventions
-----------
Ray waits for resources without a word, for ever if no node can give them. So whatever starts on the cluster
(the workers of a batch, replicas, training workers, a process for one request) does so within
``report_waits``. Resources are counted by Ray: a CPU is a unit of Ray's bookkeeping, and a request for
resources is met by one node or by none.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

LIBRARIES = {"ORT_DISABLE_TELEMETRY": "1", "DEEPFACE_BACKEND_ENGINE": "onnx"}
"""Variables of every process: no telemetry, and the engine whose weights we verify."""
RELAYING = {"MALLOC_MMAP_THRESHOLD_": "131072"}
"""Variables of processes that relay bodies, Serve's proxy and the ingress: glibc returns what is larger as
soon as it is free. By default that limit rises to the largest body ever freed, and the next ones are kept."""
COMPUTING = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "67108864"}
"""Variables of processes that need the same arrays again and again: the highest values that the limits reach.
By 128 KB a composer would ask the kernel for its pages anew in every step."""
WAIT_SECONDS = 6.0
"""After which a request for resources that is not met is reported."""
REPEAT_SECONDS = 60.0
"""Between two reports of the same wait."""


@dataclass(frozen=True)
class Demand:
    """Resources that a process on the cluster has requested and not got."""

    resources: Mapping[str, float]
    count: int


def node_cpus() -> list[int]:
    """Whole CPUs of each node of the cluster, the largest first."""
    import ray

    return sorted(
        (int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), reverse=True
    )


def cluster_state() -> tuple[list[Demand], list[tuple[float, float]]]:
    """What is waited for, and (all, free) CPUs of each node that is alive, as the head knows them."""
    from ray._private.worker import (
        global_worker,
    )  # with Ray 2.60; the dashboard, which has it too, may be off
    from ray.autoscaler.v2.sdk import get_cluster_resource_state

    state: Any = get_cluster_resource_state(global_worker.gcs_client)
    demands = [
        Demand(dict(waiting.request.resources_bundle), waiting.count)
        for waiting in state.pending_resource_requests
    ]
    demands += [
        Demand(dict(bundle.resources_bundle), 1)
        for group in state.pending_gang_resource_requests
        for bundle in group.requests
    ]
    nodes = [
        (node.total_resources.get("CPU", 0.0), node.available_resources.get("CPU", 0.0))
        for node in state.node_states
        if node.total_resources
    ]
    return demands, nodes


@contextlib.contextmanager
def report_waits(name: str, *requests: Mapping[str, float]) -> Iterator[None]:
    """While the body runs, log a line when one of its requests for resources has waited for some seconds.

    Args:
        name: what waits, as a user calls it.
        requests: the resources that the body asks for, one mapping for each kind of process.
    """
    over = threading.Event()
    threading.Thread(target=_watch, args=(name, requests, over), name="waits", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _watch(name: str, requests: tuple[Mapping[str, float], ...], over: threading.Event) -> None:
    """Look at the cluster every second until the body is over."""
    import ray

    since: float | None = None
    reported = -REPEAT_SECONDS
    while not over.wait(1.0):
        try:
            demands, nodes = cluster_state()
        except (
            ray.exceptions.RayError,
            RuntimeError,
            ValueError,
        ):  # no head: its next caller reports it
            return
        waiting = [demand for demand in demands if any(_same(demand.resources, one) for one in requests)]
        now = time.monotonic()
        if not waiting:
            since = None
            continue
        since = since or now
        if now - since >= WAIT_SECONDS and now - reported >= REPEAT_SECONDS:
            reported = now
            log.warning("%s", waiting_line(name, waiting, nodes))


def _same(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Whether two requests ask for the same CPUs."""
    return abs(one.get("CPU", 0.0) - other.get("CPU", 0.0)) < 1e-6


def waiting_line(name: str, waiting: list[Demand], nodes: list[tuple[float, float]]) -> str:
    """What waits, for what, and what is there.

    >>> waiting_line("train", [Demand({"CPU": 4.0}, 2)], [(2.0, 2.0), (2.0, 0.5)])
    'train waits for 2 x 4 CPUs, each on one node; the cluster has 4 CPUs on 2 nodes, 2.5 free, 2 on one'
    """
    kinds: dict[float, int] = {}
    for demand in waiting:
        cpus = demand.resources.get("CPU", 0.0)
        kinds[cpus] = kinds.get(cpus, 0) + demand.count
    wanted = " and ".join(f"{count} x {cpus:g} CPUs" for cpus, count in sorted(kinds.items()))
    total, free = sum(all_ for all_, _ in nodes), sum(free for _, free in nodes)
    most = max((free for _, free in nodes), default=0.0)
    places = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    there = f"the cluster has {total:g} CPUs on {places}, {free:g} free, {most:g} on one"
    return f"{name} waits for {wanted}, each on one node; {there}"
