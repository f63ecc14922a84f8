"""A batch by each engine, beside the same work without Ray and beside a plain script, in one run.

    python benchmarks/batch.py MIDI_DIR [--faces FOLDER --voices FOLDER] [--rows 200] [--mixed 40]

The first batch has rows with a seed cut from a MIDI file and an emotion. With --faces and --voices a second
batch has rows with a picture and the opening of a recording. Each engine is the command `emoray batch run`.
"Started" counts from the start of the first shard to the last commit; "all" includes the start of Python,
Ray, Serve and the models. `bare.py` measures the bound (100 %) and the plain script. The script answers the
first --sample rows; the bound answers the first --bound rows before and after each engine, and an engine is
compared with the mean of both, because the pace of a machine changes within minutes. The benchmark fails
unless the bound and both engines give the same bytes. The full size is --rows 2000 --mixed 500.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
from bare import WRITING, bound, items_of, script
from figures import CORES, options, write_figures
from rows import mixed_rows, music_rows

from emoray.batch.audit import results
from emoray.batch.folder import even_shard_rows
from emoray.batch.publish import publish
from emoray.storage import storage_path

ENGINES = ("data", "serve")


def engine(name, manifest, out, arguments):
    """(seconds of the whole command, seconds from its first shard on) of a batch by an engine."""
    emoray = Path(sys.executable).with_name("emoray")
    command = [emoray, "batch", "run", manifest, "--out", out, "--engine", name, "--local"]
    command += ["--shard-rows", str(arguments.shard)] if arguments.shard else []
    command += ["--checkpoint", arguments.checkpoint] if arguments.checkpoint else []
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - started
    assert done.returncode in (0, 3), done.stderr  # 3: some rows failed
    return seconds, _since_first_shard(out)


def _since_first_shard(out):
    """A part is written when its shard ends, and says how long its rows took together."""
    parts = [(path.stat().st_mtime, pq.read_table(path)) for path in out.glob("results/part-*.parquet")]
    begun = min(end - sum(part["milliseconds"].to_pylist()) / 1000 for end, part in parts)
    return max(end for end, _ in parts) - begun


def committing(out, scratch):
    """Seconds to commit the music of a batch once more, in one process."""
    music = [(out / row["midi"]).read_bytes() for row in results(out) if row["midi"]]
    started = time.monotonic()
    publish({storage_path(scratch / f"{number}.mid"): data for number, data in enumerate(music)})
    return time.monotonic() - started


def measure(manifest, folder, arguments):
    """Everything for one manifest: printed, and as figures."""
    items = items_of(manifest)
    shard = arguments.shard or even_shard_rows(len(items), CORES)
    some = items[: arguments.bound]
    shard = min(shard, even_shard_rows(len(some), CORES))  # the bound has work for every core
    seconds, stages, digests = bound(some, shard, arguments.checkpoint)
    rates, figures = [len(some) / seconds], {"rows": len(items), "bound_rows": len(some)}
    for name in ENGINES:
        out = folder / name
        whole, started = engine(name, manifest, out, arguments)
        rates.append(len(some) / bound(some, shard, arguments.checkpoint)[0])
        rate = sum(rates[-2:]) / 2
        made = {row["id"]: row["sha256"] for row in results(out) if row["sha256"]}
        assert {item.id: made[item.id] for item in some if item.id in made} == digests, f"{name}: other bytes"
        figures[name] = {
            "all_seconds": whole, "seconds": started, "ok": len(made), "bound_rate": rate,
            "of_bound": len(items) / started / rate, "all_of_bound": len(items) / whole / rate,
        }  # fmt: skip
        print(
            f"  {name + ', started':30} {len(items) / started:8.2f} rows/s {figures[name]['of_bound']:5.0%}"
            f"   all: {len(items) / whole:.2f} rows/s, {figures[name]['all_of_bound']:.0%}, same bytes"
        )
    of_all = f"{len(some)} of {len(items)} rows"
    print(f"  {f'bound, {CORES} processes, {of_all}':30} " + ", ".join(f"{rate:.2f}" for rate in rates))
    figures["bound_rates"] = rates
    stages["committing"] = committing(folder / ENGINES[0], folder / "again") / len(items) * len(some)
    stages = {name: stages.get(name, 0.0) for name in ("faces", "seeds", "composing", WRITING, "committing")}
    figures["stages"] = stages
    total = sum(stages.values())
    print("  share of time: " + ", ".join(f"{name} {spent / total:.0%}" for name, spent in stages.items()))
    sample = items[: arguments.sample]
    alone = script(sample, arguments.checkpoint) / len(sample) * len(items)
    figures |= {"script_seconds": alone, "script_sample": len(sample)}
    of_all, rate = f"{len(sample)} of {len(items)} rows", len(items) / alone
    print(f"  {f'plain script, {of_all}':30} {rate:8.2f} rows/s {rate / rates[-1]:5.1%}")
    return figures


def main():
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("midi_dir", type=Path)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--voices", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--mixed", type=int, default=40)
    parser.add_argument("--sample", type=int, default=10)
    parser.add_argument("--bound", type=int, default=512)
    parser.add_argument("--shard", type=int, help="of bound and engines; even ones by default")
    parser.add_argument("--seed-notes", type=int, default=64)
    parser.add_argument("--voice-seconds", type=float, default=8.0)
    parser.add_argument("--notes", type=int, default=120)
    parser.add_argument("--checkpoint", type=Path)
    arguments = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        music, mixed = Path(scratch) / "music", Path(scratch) / "mixed"
        print(f"{arguments.rows} rows: a MIDI seed and an emotion")
        manifest = music_rows(
            music,
            arguments.midi_dir,
            arguments.rows,
            seed_notes=arguments.seed_notes,
            notes=arguments.notes,
        )
        figures["music"] = measure(manifest, music, arguments)
        if arguments.faces and arguments.voices:
            print(f"{arguments.mixed} rows: a recording and a picture")
            manifest = mixed_rows(
                mixed,
                arguments.faces,
                arguments.voices,
                arguments.mixed,
                seconds=arguments.voice_seconds,
                notes=arguments.notes,
            )
            figures["mixed"] = measure(manifest, mixed, arguments)
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
