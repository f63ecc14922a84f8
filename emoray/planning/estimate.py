"""Estimate: how long a batch will take and what it needs, by arithmetic on costs measured one at a time.

Conventions
-----------
Seconds are those of one core that does nothing else (``measurement.py`` measures them), sizes are bytes. A
worker does one shard after the other, each stage of it in turn, as ``batch/shard.py`` does. An estimate knows
neither what a network, shared storage or Serve's messages add, nor what other work takes away.

What needs a running Ray is a constant, measured once on two cores with Ray 2.60: CPU and memory of its
processes around ``benchmarks/scaling.py --shards``, times by the clock of a batch of 60 rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from emoray.batch.folder import MOST_ROWS, even_shard_rows, serve_workers
from emoray.web.settings import ServeSettings


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is to be done."""

    rows: int
    notes: float
    """Composed for a row, on average, of rows that count them."""
    music_seconds: float = 0.0
    """Composed for a row, on average, of rows that ask for seconds instead."""
    voices: float = 0.0
    """Share of rows with a recording as their seed; the others bring MIDI."""
    pictures: float = 0.0
    """Share of rows with a picture."""
    engine: str = "serve"


@dataclass(frozen=True, kw_only=True)
class Machines:
    """What it is to be done on."""

    nodes: int
    cpus: int
    """Of each node."""
    running: bool = False
    """Ray already runs on them."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Something that a worker does again and again."""

    first: float = 0.0
    """What the first time takes longer: libraries and models that are loaded only then."""
    each: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Composing:
    """Composing for so many rows at once."""

    rows: int
    prefill: float
    """Seconds until all seeds are prefilled."""
    note: float
    """For one more note of each row."""


@dataclass(frozen=True, kw_only=True)
class UnitCosts:
    """What was measured."""

    load: float
    """Of a worker: Python, libraries, the network."""
    midi: Cost
    voice: Cost
    """Both of one seed."""
    picture: Cost
    few: Composing
    many: Composing
    pace: float
    """Notes for a second of music."""
    seed_notes: float
    """Of a seed."""
    write: Cost
    """A note as MIDI."""
    commit: float
    """A row, by the clock: its music and its share of a part, on the disk that was tried."""
    intake: float
    """A row of the manifest, read, checked and stored by the driver."""
    worker_bytes: float
    """The most that a worker held; libraries that workers share count in each."""
    note_bytes: float
    """A note in a file of music."""
    share: float
    """Of a core that the calibration got: 1 on a machine that does nothing else."""


RAY_START, RAY_END = 9.0, 6.0
"""By the clock, where the command starts Ray, and ends it."""
RAY_START_CPU = 27.0
"""Of all of Ray's processes on a node until Ray Data has done its first tasks."""
DATA_START, SERVE_START = 6.0, 25.0
"""Until the first worker of Ray Data begins with a shard; until an application of four stages answers."""
SHARD_DRIVER, SHARD_WORKER, SHARD_CPU = 0.012, 0.010, 0.030
"""Of Ray Data for a shard that does nothing: in the driver, in the worker, in all processes together."""
NODE_BYTES, WORKER_BYTES, DRIVER_BYTES = 610e6, 116e6, 220e6
"""Ray's own processes on a node; Ray in a worker, beside the models; a driver before its first row."""
SHARD_BYTES, ROW_BYTES = 46e3, 340
"""What Ray Data keeps in the driver of each shard; what a resume holds of each row."""
STORED_ROW = 170
"""Bytes of a row in the ledger and in the stored manifest together."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What it will take."""

    spent: dict[str, float]
    """Seconds by the clock, one after the other; of workers that work side by side, those of one."""
    cpu_seconds: float
    """Of all processes."""
    workers: int
    shard_rows: int
    node_bytes: float
    """Of memory on each node."""
    driver_bytes: float
    """On one of them, besides."""
    files: int
    disk_bytes: float

    @property
    def seconds(self) -> float:
        """From the command to its last line."""
        return sum(self.spent.values())

    @property
    def limit(self) -> str:
        """What takes longest."""
        return max(self.spent, key=self.spent.__getitem__)


def plan(work: Workload, machines: Machines, costs: UnitCosts) -> Plan:
    """What a batch will take."""
    cores, serving = machines.nodes * machines.cpus, work.engine == "serve"
    workers = serve_workers(cores, work.rows) if serving else cores
    shard = even_shard_rows(work.rows, workers)
    shards = math.ceil(work.rows / shard)
    turns = math.ceil(shards / workers) * workers / cores  # shards that a core does one after the other
    row = row_seconds(work, costs, min(shard, ServeSettings.max_batch_size) if serving else shard)
    busy = {stage: turns * shard * seconds for stage, seconds in row.items()}
    busy["Ray's tasks"] = turns * SHARD_WORKER
    fixed = {
        "starting Ray": 0.0 if machines.running else RAY_START,
        "starting Ray Data": DATA_START,
        "starting Serve": SERVE_START if serving else 0.0,
        "loading the models": costs.load + worker_start(work, costs),  # the driver checks them first
        "ending Ray": 0.0 if machines.running else RAY_END,
        "the driver's rows": work.rows * costs.intake,
        "the driver's shards": max(0.0, shards * SHARD_DRIVER - sum(busy.values())),  # beside the workers
    }
    ray = 0.0 if machines.running else RAY_START_CPU * machines.nodes
    models = costs.load + cores * worker_start(work, costs)
    rows = work.rows * (costs.intake + sum(row.values()))
    return Plan(
        spent={stage: seconds for stage, seconds in (fixed | busy).items() if seconds > 0},
        cpu_seconds=ray + models + rows + shards * SHARD_CPU,
        workers=workers,
        shard_rows=shard,
        node_bytes=NODE_BYTES + machines.cpus * _bytes_of_a_core(costs, serving=serving),
        driver_bytes=DRIVER_BYTES + work.rows * ROW_BYTES + shards * SHARD_BYTES,
        files=work.rows + shards,
        disk_bytes=work.rows * (STORED_ROW + costs.note_bytes * (costs.seed_notes + composed(work, costs))),
    )


def row_seconds(work: Workload, costs: UnitCosts, together: int) -> dict[str, float]:
    """Of one row, by stage, when so many are composed together."""
    notes = composed(work, costs)
    return {
        "composing": composing_seconds(costs.few, costs.many, together, notes) / together,
        "reading voices": work.voices * costs.voice.each,
        "reading MIDI": (1 - work.voices) * costs.midi.each,
        "reading faces": work.pictures * costs.picture.each,
        "writing MIDI": costs.write.each * (costs.seed_notes + notes),
        "storage": costs.commit,
    }


def composed(work: Workload, costs: UnitCosts) -> float:
    """Notes composed for a row."""
    return work.notes + work.music_seconds * costs.pace


def composing_seconds(few: Composing, many: Composing, rows: int, notes: float) -> float:
    """Of so many rows together, on the line through two sizes that were measured.

    >>> few, many = Composing(rows=8, prefill=0.25, note=0.01), Composing(rows=64, prefill=2.0, note=0.01)
    >>> composing_seconds(few, many, 64, 100), composing_seconds(few, many, 8, 100)
    (3.0, 1.25)
    """
    at = (min(rows, MOST_ROWS) - few.rows) / (many.rows - few.rows)
    prefill = few.prefill + at * (many.prefill - few.prefill)
    note = few.note + at * (many.note - few.note)
    return max(1.0, rows / MOST_ROWS) * (max(prefill, 0.0) + notes * max(note, 0.0))


def worker_start(work: Workload, costs: UnitCosts) -> float:
    """Until a worker has loaded what its rows need."""
    kinds = [(work.voices, costs.voice), (1 - work.voices, costs.midi), (work.pictures, costs.picture)]
    return costs.load + costs.write.first + sum(cost.first for share, cost in kinds if share > 0)


def faster(work: Workload, machines: Machines, costs: UnitCosts) -> list[tuple[str, float]]:
    """What would save at least a fiftieth of the time, and how long it would take then; the best first."""
    now = plan(work, machines, costs).seconds
    then = {what: plan(*changed, costs).seconds for what, changed in _changes(work, machines)}
    gains = [(what, seconds) for what, seconds in then.items() if seconds < 0.98 * now]
    return sorted(gains, key=lambda gain: gain[1])


def _changes(work: Workload, machines: Machines) -> Iterator[tuple[str, tuple[Workload, Machines]]]:
    yield "twice as many nodes", (work, replace(machines, nodes=2 * machines.nodes))
    half = replace(work, notes=work.notes / 2, music_seconds=work.music_seconds / 2)
    yield "half as many notes", (half, machines)
    yield "MIDI seeds instead of recordings", (replace(work, voices=0.0), machines)
    yield "an emotion instead of a picture", (replace(work, pictures=0.0), machines)
    yield "a Ray that already runs", (work, replace(machines, running=True))
    if work.engine == "serve":
        yield "--engine data", (replace(work, engine="data"), machines)


def _bytes_of_a_core(costs: UnitCosts, *, serving: bool) -> float:
    """A worker with all models; or its replicas of Serve, of which none holds more, and two that wait."""
    worker = costs.worker_bytes + WORKER_BYTES
    return 2.5 * worker + 2 * WORKER_BYTES if serving else worker  # composer, seeds, a quarter of two others
