"""Metrics: the table, what the stages record, and what a real node exports for Prometheus."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from asked import request

from emoray.dataset.corpus import CorpusSummary
from emoray.model.training import Standing
from emoray.pipeline import metrics, training_workers
from emoray.pipeline.ingest import record_files
from emoray.pipeline.metrics import TABLE, Metric, record, timed
from emoray.pipeline.serve_application import record_outcome, record_response, recorded_call
from emoray.pipeline.worker import record_rows

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana.json"
SUFFIX = {"counter": "_total", "gauge": "", "histogram": "_bucket"}
EXPORTED = {f"ray_{metric.name.removesuffix('_total')}{SUFFIX[metric.kind]}" for metric in TABLE}
"""As Prometheus sees them."""


class Recorder:
    """Stands in for Ray's objects and remembers what they were told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, float, dict[str, str]]] = []

    def __call__(self, name: str) -> Any:
        class Instrument:
            def inc(_, value: float, tags: dict[str, str]) -> None:  # noqa: N805
                assert value > 0, "Ray refuses to add nothing"
                self.lines.append((name, value, tags))

            set = observe = inc

        return Instrument()

    def sums(self, name: str) -> dict[str, float]:
        """By tags."""
        found: dict[str, float] = {}
        for _, value, tags in [line for line in self.lines if line[0] == name]:
            words = " ".join(tags.values())
            found[words] = found.get(words, 0) + value
        return found


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(metrics, "_instrument", recorder)
    monkeypatch.setattr(metrics, "under_ray", lambda: True)
    return recorder


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_each_metric_is_named_as_prometheus_wants_it(metric: Metric):
    assert re.fullmatch(r"emoray_(ingest|cluster|train|batch|serve|http)_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.boundaries) == (metric.kind == "histogram")
    assert metric.meaning
    assert metric.unit


def test_no_two_metrics_share_a_name_and_no_tag_is_an_id():
    assert len({metric.name for metric in TABLE}) == len(TABLE)
    words = {"status", "split", "outcome", "reason", "stage", "path"}
    assert {tag for metric in TABLE for tag in metric.tags} <= words


def test_what_is_not_in_the_table_is_not_recorded(recorded):
    with pytest.raises(KeyError):
        record("emoray_batch_surprises_total")
    with pytest.raises(AssertionError, match="has the tags"):
        record("emoray_batch_rows_total", item="a")
    assert recorded.lines == []


def test_nothing_is_added_to_a_counter_and_a_failure_is_timed_too(recorded):
    record("emoray_ingest_notes_total", 0)
    with pytest.raises(KeyError), timed("emoray_serve_request_seconds"):
        raise KeyError
    assert [name for name, *_ in recorded.lines] == ["emoray_serve_request_seconds"]


def test_recording_without_ray_does_no_harm():
    for metric in TABLE:
        record(metric.name, 1, **dict.fromkeys(metric.tags, "word"))
    assert not ray.is_initialized(), "nor does it start one"


def test_ingest_and_cluster_record_files_notes_and_windows(recorded):
    record_files(CorpusSummary(rows=64, errors=2, notes=300))
    assert recorded.sums("emoray_ingest_files_total") == {"ok": 62, "failed": 2}
    assert recorded.sums("emoray_ingest_notes_total") == {"": 300}
    record_files(CorpusSummary(rows=1, errors=1, notes=0))
    assert recorded.sums("emoray_ingest_files_total") == {"ok": 62, "failed": 3}


def test_training_records_epochs_losses_notes_and_waiting(recorded):
    history = [{"train_loss": 2.0, "validation_loss": 3.0}]
    training_workers.record_epoch(Standing(epoch=7, history=history))
    assert recorded.sums("emoray_train_epoch") == {"": 7}
    assert recorded.sums("emoray_train_loss") == {"train": 2.0, "validation": 3.0}

    def slow() -> Any:
        for size in (3, 4):
            time.sleep(0.02)
            yield np.zeros(size)

    for _ in training_workers.recorded(slow(), len):
        time.sleep(0.1)  # the network at work: no waiting
    assert recorded.sums("emoray_train_notes_total") == {"": 7}
    assert 0.04 <= recorded.sums("emoray_train_wait_seconds_total")[""] < 0.1


def test_a_grain_records_its_rows(recorded):
    record_rows([{"status": "ok", "milliseconds": 500}, {"status": "failed", "milliseconds": 500}])
    assert recorded.sums("emoray_batch_rows_total") == {"ok": 1, "failed": 1}
    assert recorded.sums("emoray_batch_row_seconds") == {"": 1.0}


def test_serve_records_batches_and_what_was_not_answered(recorded):
    from ray.serve.exceptions import BackPressureError

    with recorded_call("composer", 5):
        pass
    assert recorded.sums("emoray_serve_batch_size") == {"composer": 5}
    assert list(recorded.sums("emoray_serve_stage_seconds")) == ["composer"]
    item = request("a")
    for err in (BackPressureError(num_queued_requests=1, max_queued_requests=1), TimeoutError(), TypeError()):
        record_outcome(item, err)
    assert recorded.sums("emoray_serve_requests_total") == {"busy": 2, "bug": 1}
    assert recorded.sums("emoray_serve_refusals_total") == {"": 1}


def test_unknown_paths_share_one_word(recorded):
    for path in ("/v1/generate", "/healthz", "/wp-admin", "/x" * 100):
        record_response(path, 404)
    assert recorded.sums("emoray_http_requests_total") == {
        "/v1/generate 404": 1,
        "/healthz 404": 1,
        "other 404": 2,
    }


def test_the_dashboard_and_the_table_agree():
    queries = re.findall(r"ray_emoray_[a-z_]+", DASHBOARD.read_text())
    named = {re.sub(r"_(sum|count)$", "_bucket", name) for name in queries}
    assert named == EXPORTED


def test_the_dashboard_asks_for_rates_failures_and_quantiles():
    board = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert all(panel["title"] and panel["description"] and panel["targets"] for panel in panels)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    text = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    assert all(f"histogram_quantile({share}" in text for share in ("0.5", "0.95", "0.99"))
    for metric in TABLE:
        if metric.kind == "counter":  # shown as a rate, wherever it stands
            assert text.count(metric.name) == len(
                re.findall(rf"rate\(ray_{metric.name}({{[^}}]*}})?\[", text)
            )
        elif metric.kind == "gauge":
            assert f"last_over_time(ray_{metric.name}" in text, "Ray forgets a gauge after 20 s"
