"""Ingest at growing sizes: time a file and memory.

    python benchmarks/ingest_scaling.py MIDI_DIR [--files 300 1000 3000] [--notes 400] [--json FILE]

The benchmark makes files from those of MIDI_DIR, each a different stretch of about --notes notes, transposed,
and ingests each size in a fresh process as `emoray ingest` does. It prints files a second once Ray runs, the
largest memory of one process (USS), the largest size of the object store, and the time a file over that at
the smallest size; 1 is linear. The full size is --files 10000 30000 100000.
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import symusic
from figures import options, write_figures
from ingest import fresh_ingest
from memory import MEGABYTE

SOURCES = 64
"""Files that stretches are cut from."""
IN_A_FOLDER = 1000


def sources(folder):
    """Some scores of a folder, spread over it."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".mid", ".midi"))
    return [symusic.Score.from_file(str(path)) for path in paths[:: max(1, len(paths) // SOURCES)]]


def write_files(folder, scores, numbers, notes):
    """A file for each number, which alone says what is in it."""
    for number in numbers:
        random = np.random.default_rng(number)
        score = scores[random.integers(len(scores))]
        times = np.sort(np.concatenate([track.notes.numpy()["time"] for track in score.tracks]))
        first = random.integers(max(1, len(times) - notes))
        last = min(first + notes, len(times) - 1)
        stretch = score.clip(int(times[first]), int(times[last]), clip_end=True)
        path = folder / f"{number // IN_A_FOLDER:04}" / f"{number:07}.mid"
        path.parent.mkdir(exist_ok=True)
        stretch.shift_pitch(int(random.integers(-6, 7))).dump_midi(str(path))


def main():
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("midi_dir", type=Path)
    parser.add_argument("--files", type=int, nargs="+", default=[300, 1000, 3000])
    parser.add_argument("--notes", type=int, default=400)
    arguments = parser.parse_args()
    sizes, scores, runs = sorted(arguments.files), sources(arguments.midi_dir), []
    print(f"{'files':>8} {'seconds':>8} {'files/s':>8} {'object store':>13}  largest process")
    with tempfile.TemporaryDirectory() as folder:
        for before, size in zip([0, *sizes], sizes, strict=False):
            write_files(Path(folder), scores, range(before, size), arguments.notes)
            run = fresh_ingest(Path(folder))
            assert (run.files, run.errors) == (size, 0)
            runs.append(run)
            printed = f"{run.files:8,} {run.seconds:8.1f} {run.files / run.seconds:8,.0f}"
            store, memory = run.store / MEGABYTE, run.memory / MEGABYTE
            print(f"{printed} {store:10,.1f} MB  {memory:,.0f} MB ({run.process})")
    small, large = runs[0], runs[-1]
    ratio = (large.seconds / large.files) / (small.seconds / small.files)
    print(f"seconds a file, {large.files:,} beside {small.files:,} files: {ratio:.2f}")
    write_figures({"runs": [dataclasses.asdict(run) for run in runs], "ratio": ratio}, arguments.json)


if __name__ == "__main__":
    main()
