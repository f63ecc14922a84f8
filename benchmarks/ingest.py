"""Reading MIDI: symusic as emoray uses it, beside a pretty_midi loop, on a sample.

    python benchmarks/ingest.py MIDI_DIR [--files 40] [--whole] [--json FILE]

The benchmark prints the ratio of CPU times on one core, and what it means for the whole folder. With --whole
it also ingests the whole folder, by the command (which uses Ray only for work that takes longer than Ray's
start) and through Ray, each in a fresh process. It prints wall times with and without Ray's start, beside an
estimate of pretty_midi's time with one process for each core: that of the sample, scaled to the folder.
"""

import io
import multiprocessing
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pretty_midi
from figures import CORES, options, write_figures
from memory import held, object_store, sampled

from emoray.readers.midi import read_midi

FRESH = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Ingested:
    """One ingest in a process of its own."""

    start: float
    """Seconds until Ray was there."""
    seconds: float
    """From then until the corpus was."""
    files: int
    errors: int
    store: float
    """Most bytes in the object store."""
    memory: int
    """Most bytes (USS) that one process held."""
    process: str
    """Which."""


def seconds(read, files):
    """CPU seconds to read all files."""
    started = time.process_time()
    for data in files:
        read(data)
    return time.process_time() - started


def by_pretty_midi(data):
    """All notes of a file, as a script would read them."""
    warnings.simplefilter("ignore")
    file = pretty_midi.PrettyMIDI(io.BytesIO(data))
    return len([note for instrument in file.instruments for note in instrument.notes])


def on_all_cores(read, files):
    """Wall seconds to read all files in as many processes as there are cores, once these have started."""
    with FRESH.Pool(CORES) as pool:
        pool.map(read, files[:1] * CORES, chunksize=1)
        started = time.monotonic()
        pool.map(read, files, chunksize=1)
        return time.monotonic() - started


def fresh_ingest(folder):
    """Ingest a folder in a fresh process; its corpus is thrown away."""
    with tempfile.TemporaryDirectory() as out:
        receiver, sender = FRESH.Pipe(duplex=False)
        process = FRESH.Process(target=_ingest, args=(folder, Path(out) / "corpus", sender))
        process.start()
        sender.close()
        with sampled(partial(held, process.pid)) as samples:
            result = receiver.recv()
        process.join()
    memory, name = max((size, name) for sample in samples for name, size in sample.items())
    return Ingested(*result, memory, name.rpartition(" ")[0])


def by_command(folder):
    """Wall seconds of `emoray ingest`, from its start to its end."""
    with tempfile.TemporaryDirectory() as out:
        emoray = Path(sys.executable).with_name("emoray")
        command = [emoray, "ingest", folder, "--out", f"{out}/corpus", "--local"]
        started = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        return time.monotonic() - started


def _ingest(folder, out, sender):
    """What `emoray ingest` does with a large folder, with a clock."""
    from emoray.cli.ray_session import start_ray

    began = time.monotonic()
    start_ray(local=True)
    from emoray.pipeline.ingest import ingest

    started = time.monotonic()
    with sampled(object_store, every=0.1) as store:
        corpus = ingest(folder, out)
    ended = time.monotonic()
    sender.send((started - began, ended - started, corpus.rows, corpus.errors, max(store)))


def main():
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("midi_dir", type=Path)
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--whole", action="store_true")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.midi_dir.rglob("*") if path.suffix in (".mid", ".midi"))
    sample = [path.read_bytes() for path in paths[:: max(1, len(paths) // arguments.files)]]
    read_midi(sample[0])
    by_pretty_midi(sample[0])
    ours, theirs = seconds(read_midi, sample), seconds(by_pretty_midi, sample)
    whole = len(paths) / len(sample)
    print(f"{len(sample)} of {len(paths)} files, CPU seconds on one core")
    print(f"  pretty_midi loop  {theirs:8.2f}   (all files: about {theirs * whole:,.0f})")
    print(f"  emoray            {ours:8.2f}   (all files: about {ours * whole:,.1f})")
    print(f"  ratio             {theirs / ours:8.0f}")
    figures = {"files": len(paths), "sample": len(sample), "cpu_ratio": theirs / ours}
    if arguments.whole:
        loop = on_all_cores(by_pretty_midi, sample) * whole
        command = by_command(arguments.midi_dir)
        done = fresh_ingest(arguments.midi_dir)
        with_start = done.start + done.seconds
        print(f"all {done.files} files on {CORES} cores, wall seconds")
        print(f"  pretty_midi in {CORES} processes, estimated  {loop:8.1f}")
        print(f"  emoray ingest, all of the command    {command:8.1f}   ratio {loop / command:.0f}")
        print(f"  through Ray, once it has started     {done.seconds:8.1f}   ratio {loop / done.seconds:.0f}")
        print(f"  through Ray, with its start          {with_start:8.1f}   ratio {loop / with_start:.0f}")
        figures |= {"loop_seconds": loop, "start_seconds": done.start, "ingest_seconds": done.seconds}
        figures |= {"command_seconds": command}
    write_figures(figures, arguments.json)


if __name__ == "__main__":
    main()
