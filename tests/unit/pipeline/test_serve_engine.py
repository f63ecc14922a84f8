from __future__ import annotations

from emoray.pipeline.serve_deployment import cpus_needed
from emoray.pipeline.serve_engine import WORKER_CPUS, staffed
from emoray.web.settings import ServeSettings


def test_a_large_batch_has_a_composer_for_each_cpu_and_room_for_the_workers():
    for cpus in (1, 2, 3, 8, 64):
        stages = staffed(ServeSettings(), cpus, rows=100_000)
        assert stages.composer_replicas == stages.seed_replicas == cpus
        assert cpus_needed(stages) + 2 * cpus * WORKER_CPUS <= cpus


def test_a_small_batch_does_not_start_what_would_stand_idle():
    assert staffed(ServeSettings(max_batch_size=64), 64, rows=9) == ServeSettings(max_batch_size=64)
    assert staffed(ServeSettings(max_batch_size=64), 64, rows=33).composer_replicas == 2
