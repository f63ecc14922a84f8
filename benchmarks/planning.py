"""Planning: the prediction of `emoray plan` beside the batch that follows, at growing sizes.

    python benchmarks/planning.py [--rows 60 400] [--engine data] [--voices .1] [--pictures .2] [--json FILE]

For each size the benchmark makes a manifest of the embedded pieces, the hummed melody and the portrait,
calibrates and makes the plan, and then runs the command. Wall and CPU seconds are those of the command with
all its processes; memory is the largest sum of their USS, sampled. On a busy machine only the CPU seconds are
comparable, because the plan assumes a machine that does nothing else.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import options, write_figures
from memory import MEGABYTE, held, psutil, sampled
from rows import EMOTIONS, write_manifest

from emoray.demo.files import write_demo

COMMAND = (sys.executable, "-c", "from emoray.cli import main; main()")
NOTES = 120


def manifest(folder, rows, voices, pictures):
    """Rows with these shares of recordings and pictures, spread evenly; every one has an emotion."""
    files = write_demo(folder)
    midi = sorted(path for path in (folder / "seeds").iterdir() if path.suffix == ".mid")
    found = []
    for number in range(rows):
        spoken, seen = (int((number + 1) * share) > int(number * share) for share in (voices, pictures))
        seed = files.hummed if spoken else midi[number % len(midi)]
        row = {"id": f"row-{number}", "seed": f"seeds/{seed.name}", "emotion": EMOTIONS[number % 2]}
        image = {"image": files.picture.name} if seen and files.picture else {}
        found.append(row | image | {"notes": NOTES})
    return write_manifest(folder, found)


def planned(table, engine):
    """What the command predicts."""
    command = [*COMMAND, "plan", "--manifest", table, "--engine", engine, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def cpu_seconds(pid):
    """CPU seconds so far by process, of a process and all below it."""
    root = psutil.Process(pid)
    found = {}
    for process in (root, *root.children(recursive=True)):
        try:
            used = process.cpu_times()
            found[process.pid, process.create_time()] = used.user + used.system
        except psutil.Error:
            continue
    return found


def real(table, out, engine):
    """Clock seconds, CPU seconds and most bytes of the real batch."""
    command = [*COMMAND, "batch", "run", table, "--out", out, "--engine", engine, "--local"]
    began = time.monotonic()
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def sample():
        try:
            return cpu_seconds(running.pid), sum(held(running.pid).values())
        except psutil.Error:
            return {}, 0

    with sampled(sample, every=1.0) as samples:
        said, _ = running.communicate()
    seconds = time.monotonic() - began
    assert running.returncode in (0, 3), said
    used = {}
    for cpu, _ in samples:
        used |= cpu
    return {
        "seconds": seconds,
        "cpu_seconds": sum(used.values()),
        "bytes": max(memory for _, memory in samples),
        "load": os.getloadavg()[0],
    }


def compared(rows, folder, arguments):
    """Prediction, truth and error of one size: printed, and as figures."""
    table = manifest(folder, rows, arguments.voices, arguments.pictures)
    plan = planned(table, arguments.engine)
    share = plan["costs"]["share"]
    print(f"{rows:,} rows, {arguments.engine}: {plan['seconds']:.1f} s, limited by {plan['limit']}", end="; ")
    print(f"the calibration got {share:.0%} of a core", flush=True)
    found = real(table, folder / "out", arguments.engine)
    made = plan["plan"]
    predicted = {
        "seconds": plan["seconds"],
        "cpu_seconds": made["cpu_seconds"],
        "bytes": made["node_bytes"] + made["driver_bytes"],
    }
    for name, unit, scale in (
        ("seconds", "clock s", 1),
        ("cpu_seconds", "CPU s", 1),
        ("bytes", "MB", MEGABYTE),
    ):
        expected, true = predicted[name] / scale, found[name] / scale
        print(
            f"  {unit:8} predicted {expected:9,.1f}   real {true:9,.1f}   error {expected / true - 1:+5.0%}"
        )
    return {"predicted": predicted, "real": found, "plan": plan}


def main():
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[60, 400])
    parser.add_argument("--engine", choices=("data", "serve"), default="data")
    parser.add_argument("--voices", type=float, default=0.0)
    parser.add_argument("--pictures", type=float, default=0.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = {rows: compared(rows, Path(scratch) / str(rows), arguments) for rows in arguments.rows}
    write_figures({"sizes": found}, arguments.json)


if __name__ == "__main__":
    main()
