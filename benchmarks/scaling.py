"""Scaling: what the driver and the readers of a batch folder cost as it grows, without composing anything.

    python benchmarks/scaling.py [--rows 10000 100000] [--drive 10000] [--folder FOLDER] [--json FILE]

For each size: a manifest of that many rows; *enter*, what the driver does before the first grain; a made-up
ledger with one embedded piece as every row's music; `status`, `verify` and *resume* of a batch with nothing
left to do. For each --drive size the real driver on a local Ray, with an engine that fails every row at once:
what is left is handing out grains and committing parts. Each step is a fresh process; its seconds are of its
CPU and by the clock, its memory is the most it held. The full size is --rows 10000 100000 1000000
--drive 10000 100000; it makes a million files and takes a quarter of an hour on a machine that does nothing
else.
"""

import contextlib
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from figures import keep, options

from emoray.batch.folder import BatchSettings

GRAIN = 64
SEEDS = 100
SETTINGS = BatchSettings(engine="data", grain=GRAIN)


class EnteredError(Exception):
    """The driver has come as far as its first grain."""


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
    for first in range(0, rows, GRAIN):
        ids = {row: f"row-{row - 1:08}" for row in range(first + 1, min(first + GRAIN, rows) + 1)}
        same = dict.fromkeys(SCHEMA.names) | {"status": "ok", "label": 1, "valence": 1.0, "sha256": digest}
        same |= {"seed_notes": 64, "notes": 120, "attempts": 1, "milliseconds": 60}
        part = [same | {"row": row, "id": name, "midi": music_path(name)} for row, name in ids.items()]
        for row in part:
            (out / row["midi"]).write_bytes(music)
        table = pa.Table.from_pylist(part, SCHEMA)
        pq.write_table(table, out / RESULTS / f"part-{first // GRAIN:06}.parquet", compression="zstd")


def engine_plan(start, *, checked=False):
    """An engine that needs no models and, unless it is to be checked, no cluster."""
    from emoray.pipeline.engines import EnginePlan

    class Unchecked(EnginePlan):
        def check_cluster(self):
            pass

    kind = EnginePlan if checked else Unchecked
    return kind(checkpoint="none", guidance="none", faces="none", workers=2, worker_cpus=1.0, start=start)


def refuse(_name):
    """In place of starting an engine."""
    raise EnteredError


def fail_all(items):
    """An engine that composes nothing."""
    from emoray.items import Result

    return [(Result(id=item.id, status="failed", error="not composed"), 1) for item in items]


def enter(folder):
    """All that a driver does before its first grain."""
    from emoray.pipeline.batch import run_batch

    with contextlib.suppress(EnteredError):
        run_batch(folder / "manifest.jsonl", folder / "out", SETTINGS, engine=engine_plan(refuse))


def resume(folder):
    """A drive that finds every grain done."""
    from emoray.pipeline.batch import run_batch

    plan = engine_plan(refuse)
    summary = run_batch(folder / "manifest.jsonl", folder / "out", SETTINGS, engine=plan, resume=True)
    assert summary.failed == 0


def status(folder):
    """As `emoray batch status`."""
    from emoray.batch import audit

    assert audit.status(folder / "out").complete


def verify(folder):
    """As `emoray batch verify`."""
    from emoray.batch import audit

    assert audit.verify(folder / "out").sound


def drive(folder):
    """The whole driver on two workers that compose nothing."""
    import ray
    from ray import cloudpickle

    from emoray.pipeline.batch import run_batch

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    plan = engine_plan(lambda _: contextlib.nullcontext(partial(partial, fail_all)), checked=True)
    run_batch(folder / "manifest.jsonl", folder / "driven", SETTINGS, engine=plan)
    ray.shutdown()


STEPS = {step.__name__: step for step in (enter, status, verify, resume, drive)}


def step_here(name, folder):
    """Do a step in this process and print its figures."""
    began, cpu = time.monotonic(), time.process_time()
    STEPS[name](folder)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak}))


def step(name, folder):
    """The figures of a step in a fresh process."""
    command = [sys.executable, __file__, "--step", name, "--folder", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def measured(names, folder, rows):
    """The figures of some steps, printed as they come."""
    figures = {}
    for name in names:
        found = figures[name] = step(name, folder)
        told = f"{found['cpu_seconds']:9.1f} {found['seconds']:9.1f} {found['peak_bytes'] / 1e6:9.0f}"
        print(f"{rows:10,} {name:12} {told}", flush=True)
    return figures


def main():
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--drive", type=int, nargs="*", default=[10_000])
    parser.add_argument("--folder", type=Path, help="where the batches are made")
    parser.add_argument("--step", choices=STEPS)
    arguments = parser.parse_args()
    if arguments.step:
        step_here(arguments.step, arguments.folder)
        return
    found = {}
    print(f"{'rows':>10} {'step':12} {'CPU s':>9} {'clock s':>9} {'peak MB':>9}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        for rows in sorted({*arguments.rows, *arguments.drive}):
            folder = Path(scratch) / str(rows)
            write_manifest(folder, rows)
            size = (folder / "manifest.jsonl").stat().st_size
            found[rows] = {"manifest_bytes": size}
            if rows in arguments.rows:
                found[rows] |= measured(["enter"], folder, rows)
                write_ledger(folder, rows)
                found[rows] |= measured(["status", "verify", "resume"], folder, rows)
                found[rows] |= stored(folder / "out")
            if rows in arguments.drive:
                found[rows] |= measured(["drive"], folder, rows)
    keep({"sizes": found}, arguments.json)


def stored(out):
    """Files and bytes of a batch folder, the music apart."""
    files = [path for path in out.rglob("*") if path.is_file()]
    music = sum(path.suffix == ".mid" for path in files)
    rest = sum(path.stat().st_size for path in files if path.suffix != ".mid")
    return {"music_files": music, "other_files": len(files) - music, "other_bytes": rest}


if __name__ == "__main__":
    main()
