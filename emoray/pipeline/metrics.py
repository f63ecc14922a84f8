"""Metrics: every figure that emoray exports for Prometheus, in one table; nothing else defines one.

Conventions
-----------
Ray exports from each node's metrics port what any process of the node records, under the table's name with
``ray_`` before it: ``ray_emoray_batch_rows_total``; a histogram becomes ``..._bucket``, ``..._sum`` and
``..._count``. A tag is a word from a small set, never an id. Ray adds tags that tell processes apart
(``WorkerId``, in Serve ``replica``), so queries add up over them. Ray forgets a gauge 20 s after it was set;
queries bridge that with ``last_over_time``.

A counter counts work that was done: work done twice, because a process died, counts twice. The result of each
row is in the ledger.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


@dataclass(frozen=True)
class Metric:
    """A row of the table."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    meaning: str
    tags: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()
    """Upper edges of a histogram's buckets."""

    @property
    def in_replica(self) -> bool:
        """Whether Serve's replicas record it; its tags then name deployment and application too."""
        return self.name.startswith(("emoray_serve_", "emoray_http_"))


TABLE = (
    Metric("emoray_ingest_files_total", "counter", "files", "MIDI files read", ("status",)),
    Metric("emoray_ingest_notes_total", "counter", "notes", "Notes in the files that could be read"),
    Metric("emoray_cluster_windows_total", "counter", "windows", "Windows whose features were computed"),
    Metric("emoray_train_epoch", "gauge", "epochs", "Epochs done"),
    Metric("emoray_train_loss", "gauge", "loss", "Mean loss of the last epoch", ("split",)),
    Metric("emoray_train_notes_total", "counter", "notes", "Notes that training workers predicted"),
    Metric("emoray_train_wait_seconds_total", "counter", "s", "Training workers' wait for their next batch"),
    Metric("emoray_batch_rows_total", "counter", "rows", "Manifest rows committed", ("status",)),
    Metric("emoray_batch_row_seconds", "histogram", "s", "A row's share of its shard", (), SECONDS),
    Metric("emoray_batch_shards_total", "counter", "shards", "Shards answered", ("outcome",)),
    Metric(
        "emoray_batch_retries_total",
        "counter",
        "calls",
        "Calls that failed by a transient error",
        ("reason",),
    ),
    Metric("emoray_serve_requests_total", "counter", "requests", "Requests answered", ("outcome",)),
    Metric("emoray_serve_request_seconds", "histogram", "s", "A call through all deployments", (), SECONDS),
    Metric("emoray_serve_stage_seconds", "histogram", "s", "One call of a deployment", ("stage",), SECONDS),
    Metric(
        "emoray_serve_batch_size",
        "histogram",
        "requests",
        "Requests in a call of a deployment",
        ("stage",),
        SIZES,
    ),
    Metric("emoray_serve_notes_total", "counter", "notes", "Notes composed"),
    Metric("emoray_serve_refusals_total", "counter", "requests", "Requests refused by a busy ingress"),
    Metric("emoray_http_requests_total", "counter", "requests", "HTTP requests", ("path", "status")),
)
_BY_NAME = {metric.name: metric for metric in TABLE}


def under_ray() -> bool:
    """Whether this process is part of a Ray, which would export what it records."""
    ray = sys.modules.get("ray")  # a process that has not imported it is not; importing it takes a second
    return ray is not None and ray.is_initialized()


def record(name: str, value: float = 1, **tags: str) -> None:
    """Add to a counter, set a gauge or observe in a histogram; nothing is sent from here, and it never waits.

    Without Ray nothing is kept.

    Args:
        name: of a metric in the table.
        value: in the metric's unit; 0 adds nothing to a counter.
        tags: a word for each tag of the metric.
    """
    metric = _BY_NAME[name]
    assert tags.keys() == set(metric.tags), f"{name} has the tags {metric.tags}"
    if not under_ray():
        return
    if metric.kind == "gauge":
        _instrument(name).set(value, tags)
    elif metric.kind == "histogram":
        _instrument(name).observe(value, tags)
    elif value:
        _instrument(name).inc(value, tags)


@contextlib.contextmanager
def timed(name: str, **tags: str) -> Iterator[None]:
    """Observe how long the block took, also if it fails."""
    began = time.monotonic()
    try:
        yield
    finally:
        record(name, time.monotonic() - began, **tags)


@functools.cache
def _instrument(name: str) -> Any:
    """Ray's object behind a metric, made once a process, when it is first recorded."""
    metric = _BY_NAME[name]
    if metric.in_replica:
        from ray.serve import metrics as kinds
    else:
        from ray.util import metrics as kinds
    kind = getattr(kinds, metric.kind.capitalize())
    more = {"boundaries": list(metric.boundaries)} if metric.boundaries else {}
    return kind(metric.name, description=f"{metric.meaning}.", tag_keys=metric.tags, **more)
