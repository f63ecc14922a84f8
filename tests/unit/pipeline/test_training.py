"""What a training asks the cluster for; no Ray."""

from __future__ import annotations

import pytest

from emoray.errors import ClusterError
from emoray.pipeline.training import TrainSettings, check_cluster


@pytest.mark.parametrize(
    ("nodes", "workers", "cpus"),
    [
        ([4], 1, 4),
        ([4], 2, 2),
        ([2, 2], 1, 2),
        ([2, 2], 2, 2),
        ([2, 2], 3, 1),
        ([4, 2], 2, 2),
        ([8, 1], 3, 2),
    ],
)
def test_a_worker_asks_for_no_more_cpus_than_every_worker_can_have_on_one_node(
    monkeypatch, nodes, workers, cpus
):
    """A request for more than the largest node has would wait for ever."""
    monkeypatch.setattr("emoray.pipeline.training.node_cpus", lambda: nodes)
    assert check_cluster(TrainSettings(workers=workers)) == cpus


def test_workers_that_fit_nowhere_are_refused(monkeypatch):
    monkeypatch.setattr("emoray.pipeline.training.node_cpus", lambda: [2, 2])
    with pytest.raises(
        ClusterError, match=r"5 workers of 1 CPUs do not fit into nodes of 2 \+ 2 CPUs; lower"
    ):
        check_cluster(TrainSettings(workers=5))
    with pytest.raises(ClusterError, match="1 workers of 3 CPUs do not fit"):
        check_cluster(TrainSettings(cpus_per_worker=3))
