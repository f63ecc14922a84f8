"""What a real node exports for Prometheus."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable

import pytest
import ray

from emoray.model.training import Standing
from emoray.pipeline import training_workers
from emoray.pipeline.worker import record_rows

pytestmark = pytest.mark.ray


def scraped(until: Callable[[str], bool]) -> str:
    """What the node exports for Prometheus, once it holds what is waited for."""
    [node] = ray.nodes()
    for _ in range(180):
        url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as page:
            text = page.read().decode()
        if until(text):
            return text
        time.sleep(0.5)
    raise AssertionError("waited for a minute and a half")


def value(text: str, name: str, **tags: str) -> float:
    """Summed over processes."""
    lines = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
    lines = [line for line in lines if all(f'{tag}="{word}"' in line for tag, word in tags.items())]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def test_a_node_exports_what_its_workers_record(ray_cluster):
    @ray.remote
    def work() -> str:  # statuses of its own, for other tests have recorded before
        record_rows([{"status": "good", "milliseconds": 200}] * 3 + [{"status": "bad", "milliseconds": 900}])
        training_workers.record_epoch(
            Standing(epoch=7, history=[{"train_loss": 2.0, "validation_loss": 3.0}])
        )
        return str(ray.get_runtime_context().get_worker_id())

    mine = {"split": "validation", "WorkerId": ray.get(work.remote())}
    rows = "ray_emoray_batch_rows_total"
    loss = "ray_emoray_train_loss"
    text = scraped(lambda text: value(text, rows, status="good") > 0 and value(text, loss, **mine) > 0)
    assert (value(text, rows, status="good"), value(text, rows, status="bad")) == (3, 1)
    assert value(text, loss, **mine) == 3
    assert value(text, "ray_emoray_batch_row_seconds_bucket", le="0.3") >= 3
    assert value(text, "ray_emoray_batch_row_seconds_count") >= 4
    assert "# HELP ray_emoray_batch_rows_total Manifest rows committed." in text
