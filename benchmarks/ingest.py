"""Reading MIDI: symusic as emoray uses it beside a pretty_midi loop, on a sample, in one run.

    python benchmarks/ingest.py MIDI_DIR [--files 40] [--whole]

Prints the ratio of CPU times on one core, and what it means for the whole folder. With --whole also runs
`emoray ingest` on all of it, Ray's start included, and prints its wall time beside the estimate for the loop.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pretty_midi

from emoray.readers.midi import read_midi


def seconds(read, files):
    """CPU seconds to read all files."""
    started = time.process_time()
    for data in files:
        read(data)
    return time.process_time() - started


def by_pretty_midi(data):
    """All notes of a file, as a script would read them."""
    file = pretty_midi.PrettyMIDI(io.BytesIO(data))
    return [note for instrument in file.instruments for note in instrument.notes]


def whole_ingest(folder):
    """Wall seconds of the command on the whole folder."""
    emoray = Path(sys.executable).with_name("emoray")
    with tempfile.TemporaryDirectory() as out:
        started = time.monotonic()
        subprocess.run([emoray, "ingest", folder, "--out", Path(out) / "corpus", "--local"], check=True)
        return time.monotonic() - started


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("midi_dir", type=Path)
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--whole", action="store_true")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.midi_dir.rglob("*") if path.suffix in (".mid", ".midi"))
    sample = [path.read_bytes() for path in paths[:: max(1, len(paths) // arguments.files)]]
    warnings.simplefilter("ignore")
    read_midi(sample[0])
    by_pretty_midi(sample[0])
    ours, theirs = seconds(read_midi, sample), seconds(by_pretty_midi, sample)
    whole = len(paths) / len(sample)
    print(f"{len(sample)} of {len(paths)} files, CPU seconds on one core")
    print(f"  pretty_midi loop  {theirs:8.2f}   (all files: about {theirs * whole:,.0f})")
    print(f"  emoray            {ours:8.2f}   (all files: about {ours * whole:,.1f})")
    print(f"  ratio             {theirs / ours:8.0f}")
    if arguments.whole:
        wall = whole_ingest(arguments.midi_dir)
        print(f"`emoray ingest` of all {len(paths)} files, wall seconds: {wall:.1f}")
        print(f"  ratio to the loop's estimate: {theirs * whole / wall:.0f}")


if __name__ == "__main__":
    main()
