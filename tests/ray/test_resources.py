"""Who waits for the cluster says so, on a real Ray."""

from __future__ import annotations

import time

import pytest
import ray

from emoray.pipeline.resources import cluster_state, node_cpus, report_waits

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def test_a_wait_for_cpus_is_reported_within_ten_seconds(caplog):
    task = ray.remote(lambda: None).options(num_cpus=99)
    began = time.monotonic()
    with report_waits("train", {"CPU": 99.0}):
        waiting = task.remote()
        while "train waits for" not in caplog.text and time.monotonic() - began < 30:
            time.sleep(0.1)
    took = time.monotonic() - began
    ray.cancel(waiting)
    assert "train waits for 1 x 99 CPUs, each on one node; the cluster has 4 CPUs on 1 node" in caplog.text
    assert took < 10


def test_what_others_wait_for_is_not_reported_as_ours(caplog):
    waiting = ray.remote(lambda: None).options(num_cpus=98).remote()
    deadline = time.monotonic() + 20
    while not any(demand.resources.get("CPU") == 98 for demand in cluster_state()[0]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with report_waits("batch", {"CPU": 0.1}):
        time.sleep(8)
    ray.cancel(waiting)
    assert "waits for" not in caplog.text


def test_the_cpus_of_each_node_are_known():
    assert node_cpus() == [4]
