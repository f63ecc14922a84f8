"""A plan by hand: round costs, so that every figure can be worked out on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emoray.planning import estimate
from emoray.planning.estimate import Composing, Cost, Machines, UnitCosts, Workload, faster, plan

COSTS = UnitCosts(
    load=3.0,
    midi=Cost(each=0.001),
    voice=Cost(first=2.0, each=1.0),
    picture=Cost(first=0.5, each=0.05),
    few=Composing(rows=8, prefill=0.25, note=0.01),
    many=Composing(rows=64, prefill=2.0, note=0.01),
    pace=5.0,
    seed_notes=50,
    write=Cost(each=0.0001),
    commit=0.002,
    intake=0.0001,
    worker_bytes=1e9,
    note_bytes=8,
    share=1.0,
)
START = estimate.RAY_START + estimate.DATA_START + estimate.RAY_END
WORK = Workload(rows=640, notes=100, engine="data")
TWO_CORES = Machines(nodes=1, cpus=2)


def test_the_time_of_a_batch_is_what_one_worker_does_one_after_the_other():
    """640 rows on two workers: five shards of 64 each."""
    made = plan(WORK, TWO_CORES, COSTS)
    assert made.shard_rows == 64
    shard = (2.0 + 100 * 0.01) + 64 * (0.001 + 150 * 0.0001 + 0.002) + estimate.SHARD_WORKER
    models = 2 * 3.0  # of the driver, then of the workers
    assert made.seconds == pytest.approx(START + models + 640 * 0.0001 + 5 * shard)
    assert made.limit == "composing"


def test_files_are_a_row_of_music_each_and_a_part_for_each_grain():
    assert plan(WORK, TWO_CORES, COSTS).files == 640 + 10


def test_a_recording_costs_its_reading_and_what_its_library_loads():
    spoken = plan(replace(WORK, voices=0.5), TWO_CORES, COSTS)
    without = plan(WORK, TWO_CORES, COSTS)
    assert spoken.seconds - without.seconds == pytest.approx(2.0 + 320 * (0.5 * 1.0 - 0.5 * 0.001))
    assert spoken.limit == "reading voices"


def test_rows_that_ask_for_seconds_are_counted_in_notes():
    by_seconds = replace(WORK, notes=0, music_seconds=20.0)
    assert plan(by_seconds, TWO_CORES, COSTS).seconds == plan(WORK, TWO_CORES, COSTS).seconds


def test_more_nodes_share_the_grains_but_not_the_start():
    many = replace(WORK, rows=64_000)
    one, ten = (plan(many, Machines(nodes=nodes, cpus=2), COSTS) for nodes in (1, 10))
    fixed = START + 2 * 3.0 + 64_000 * 0.0001
    assert (ten.seconds - fixed) * 10 == pytest.approx(one.seconds - fixed)


def test_a_driver_that_hands_out_grains_slower_than_workers_take_them_is_the_limit():
    huge = replace(WORK, rows=10_000_000)
    made = plan(huge, Machines(nodes=1000, cpus=64), replace(COSTS, intake=0.0))
    assert made.limit == "the driver's shards"
    shards = made.files - huge.rows
    assert made.seconds == pytest.approx(START + 2 * 3.0 + shards * estimate.SHARD_DRIVER)
    assert "the driver's shards" not in plan(huge, TWO_CORES, COSTS).spent


def test_serve_takes_its_own_start_and_more_memory():
    data, serve = plan(WORK, TWO_CORES, COSTS), plan(replace(WORK, engine="serve"), TWO_CORES, COSTS)
    assert serve.spent["starting Serve"] == estimate.SERVE_START
    assert serve.node_bytes > data.node_bytes


def test_what_would_be_faster_is_told_best_first_and_only_if_it_is():
    gains = faster(replace(WORK, rows=64_000, voices=0.5), TWO_CORES, COSTS)
    times = [seconds for _, seconds in gains]
    assert times == sorted(times)
    assert {"twice as many nodes", "MIDI seeds instead of recordings"} <= {what for what, _ in gains}
    assert "an emotion instead of a picture" not in {what for what, _ in gains}
