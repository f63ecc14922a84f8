"""Scaling: the cost of the driver and of the readers of a batch folder as it grows, without composing.

    python benchmarks/scaling.py [--rows 10000 100000] [--shards 160] [--folder FOLDER] [--json FILE]

For each size there is a manifest of that many rows. *enter* is the driver's work before its first shard.
Then a ledger is made up, with one embedded piece as the music of every row, and `status`, `verify` and
*resume* (of a batch with nothing left to do) are measured on it. Last, --shards shards that do nothing go
through Ray Data on a local Ray as the driver hands them out. Each step is a fresh process; memory is the most
that it held, and for shards the growth of the driver's. The full size is --rows 10000 100000 1000000 --shards
160 1600; it makes a million files.
"""

import argparse
import contextlib
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from figures import options, write_figures

from emoray.batch.folder import BatchSettings

SHARD_ROWS = 64
SEEDS = 100
WARM_UP = 20
"""Shards that pay for what Ray Data starts only once."""
SETTINGS = BatchSettings(engine="data", shard_rows=SHARD_ROWS)


class EnteredError(Exception):
    """The driver has come as far as its first shard."""


def write_manifest(folder, rows):
    """JSONL of rows that all pass, on a few seeds."""
    from emoray.demo.pieces import pieces
    from emoray.writers.midi import midi_bytes

    (folder / "seeds").mkdir(parents=True)
    music = midi_bytes(pieces()[0].notes[:SEEDS])
    for number in range(SEEDS):
        (folder / "seeds" / f"{number:02}.mid").write_bytes(music)
    with (folder / "manifest.jsonl").open("w") as file:
        for number in range(rows):
            seed, emotion = f"seeds/{number % SEEDS:02}.mid", ("happy", "sad")[number % 2]
            row = {"id": f"row-{number:08}", "seed": seed, "emotion": emotion, "notes": 120}
            file.write(json.dumps(row) + "\n")


def write_ledger(folder, rows):
    """The parts and the music of a complete batch, as workers leave them but not synced."""
    from emoray.batch.ledger import MUSIC, SCHEMA, music_path
    from emoray.batch.publish import RESULTS

    out, music = folder / "out", (folder / "seeds" / "00.mid").read_bytes()
    digest = hashlib.sha256(music).hexdigest()
    for shard in range(256):
        (out / MUSIC / f"{shard:02x}").mkdir(parents=True, exist_ok=True)
    (out / RESULTS).mkdir(exist_ok=True)
    for first in range(0, rows, SHARD_ROWS):
        ids = {row: f"row-{row - 1:08}" for row in range(first + 1, min(first + SHARD_ROWS, rows) + 1)}
        same = dict.fromkeys(SCHEMA.names) | {"status": "ok", "label": 1, "valence": 1.0, "sha256": digest}
        same |= {"seed_notes": 64, "notes": 120, "attempts": 1, "milliseconds": 60}
        part = [same | {"row": row, "id": name, "midi": music_path(name)} for row, name in ids.items()]
        for row in part:
            (out / row["midi"]).write_bytes(music)
        table = pa.Table.from_pylist(part, SCHEMA)
        pq.write_table(table, out / RESULTS / f"part-{first // SHARD_ROWS:06}.parquet", compression="zstd")


def engine_plan():
    """An engine that needs neither models nor a cluster, because it is never started."""
    from emoray.pipeline.engines import EnginePlan

    class Idle(EnginePlan):
        def check_cluster(self):
            """There is none to check."""

    return Idle(checkpoint="none", guidance="none", faces="none", workers=2, worker_cpus=1.0, start=refuse)


def refuse(_name):
    """In place of starting an engine."""
    raise EnteredError


def enter(folder):
    """All that a driver does before its first shard."""
    from emoray.pipeline.batch_driver import run_batch

    with contextlib.suppress(EnteredError):
        run_batch(folder / "manifest.jsonl", folder / "out", SETTINGS, engine=engine_plan())


def resume(folder):
    """A run that finds every shard done."""
    from emoray.pipeline.batch_driver import run_batch

    table, out = folder / "manifest.jsonl", folder / "out"
    summary = run_batch(table, out, SETTINGS, engine=engine_plan(), resume=True)
    assert summary.failed == 0


def status(folder):
    """As `emoray batch status`."""
    from emoray.batch import audit

    assert audit.status(folder / "out").complete


def verify(folder):
    """As `emoray batch verify`."""
    from emoray.batch import audit

    assert audit.verify(folder / "out").sound


STEPS = {step.__name__: step for step in (enter, status, verify, resume)}


def step_here(name, folder):
    """The figures of a step in this process."""
    began, cpu = time.monotonic(), time.process_time()
    STEPS[name](folder)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"cpu_seconds": cpu, "seconds": seconds, "bytes": peak}


def shards_here(count):
    """The figures of shards that do nothing, from a driver that has handed out some before."""
    import ray
    from memory import psutil

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    driver = psutil.Process()
    hand_out(WARM_UP)
    began, cpu, memory = time.monotonic(), time.process_time(), driver.memory_full_info().uss
    hand_out(count)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    grown = driver.memory_full_info().uss - memory
    ray.shutdown()
    return {"cpu_seconds": cpu, "seconds": seconds, "bytes": grown}


def hand_out(count):
    """Tasks as ``pipeline/batch_driver.py`` makes them of shards."""
    import ray.data

    blocks = [pa.table({"shard": pa.array([number], pa.int64())}) for number in range(count)]
    dataset = ray.data.from_arrow(blocks).map_batches(
        lambda block: block,
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.TaskPoolStrategy(size=2),
        num_cpus=1.0,
    )
    assert sum(1 for _ in dataset.iter_rows()) == count


def fresh(*arguments):
    """The figures of a step in a fresh process."""
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def printed(size, name, figures):
    """The figures, printed."""
    numbers = f"{figures['cpu_seconds']:9.1f} {figures['seconds']:9.1f} {figures['bytes'] / 1e6:9.0f}"
    print(f"{size:10,} {name:12} {numbers}", flush=True)
    return figures


def main():
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--shards", type=int, nargs="*", default=[160])
    parser.add_argument("--folder", type=Path, help="where the batches are made")
    parser.add_argument("--step", choices=[*STEPS, "shards"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        here = shards_here(arguments.shards[0]) if arguments.step == "shards" else None
        print(json.dumps(here or step_here(arguments.step, arguments.folder)))
        return
    print(f"{'size':>10} {'step':12} {'CPU s':>9} {'clock s':>9} {'MB':>9}")
    found = {"rows": {}, "shards": {}}
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            found["rows"][rows] = measured(Path(folder), rows)
    for count in arguments.shards:
        found["shards"][count] = printed(count, "shards", fresh("--step", "shards", "--shards", count))
    write_figures(found, arguments.json)


def measured(folder, rows):
    """The figures of every step with a batch of that size."""
    write_manifest(folder, rows)
    found = {"enter": printed(rows, "enter", fresh("--step", "enter", "--folder", folder))}
    write_ledger(folder, rows)
    for name in ("status", "verify", "resume"):
        found[name] = printed(rows, name, fresh("--step", name, "--folder", folder))
    return found


if __name__ == "__main__":
    main()
