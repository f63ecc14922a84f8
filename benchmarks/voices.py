"""Accuracy and cost of transcription, for each recording of a folder.

    python benchmarks/voices.py FOLDER

A recording ``NAME.flac`` (or wav, ogg, mp3) with a ``NAME.txt`` beside it (a line a note: onset s, offset s,
MIDI pitch, which may be fractional) is scored by mir_eval.transcription: onset within 50 ms, pitch within 50
cents, offsets ignored. ``f1`` scores the notes of ``read_audio``, whose pitches are whole semitones;
``unrounded`` scores the pitches before rounding; ``onset`` scores the onsets alone. Recordings without
annotations are listed with their number of notes. ``librosa`` is the time of librosa's pYIN over that of
emoray's, with the same frames, thresholds and bins. The last lines time the first recording of a new process,
in which librosa has to compile itself.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from emoray.errors import AudioError
from emoray.readers import melody, pyin
from emoray.readers.audio import SAMPLE_RATE, decode_audio, frame_loudness, read_audio, track

KINDS = {".flac", ".wav", ".ogg", ".mp3"}


def main(folder: Path) -> None:
    """Print a line a recording, and the means."""
    columns = {"f1": 6, "unrounded": 10, "onset": 6, "notes": 6, "cpu s / s": 10, "librosa": 8}
    print(f"{'recording':20}", *(f"{name:>{width}}" for name, width in columns.items()))
    scores = []
    times_of_librosa(np.zeros(SAMPLE_RATE, np.float32))  # numba compiles once, and not on the clock
    paths = sorted(path for path in folder.iterdir() if path.suffix in KINDS)
    for path in paths:
        data = path.read_bytes()
        start = time.process_time()
        try:
            notes = read_audio(data, subject="refused")
        except AudioError as err:
            print(f"{path.name:20} {err}")
            continue
        cost = (time.process_time() - start) / (len(decode_audio(data)) / SAMPLE_RATE)
        annotation = path.with_suffix(".txt")
        shown = f"{'-':>6} {'-':>10} {'-':>6}"
        if annotation.exists():
            truth = np.loadtxt(annotation, ndmin=2)
            times = np.stack([notes["onset"], notes["onset"] + notes["duration"]], axis=1)
            raw_times, raw = unrounded(data)
            found = f1(truth, times, notes["pitch"].astype(float)), f1(truth, raw_times, raw)
            onset = onset_f1(truth, times)
            scores.append((*found, onset))
            shown = f"{found[0]:6.3f} {found[1]:10.3f} {onset:6.3f}"
        ratio = times_of_librosa(decode_audio(data))
        print(f"{path.name:20} {shown} {len(notes):6d} {cost:10.3f} {ratio:6.1f} x")
    if scores:
        mean = np.mean(scores, axis=0)
        print(f"{'mean':20} {mean[0]:6.3f} {mean[1]:10.3f} {mean[2]:6.3f}")
    for name, work in (("ours", "track"), ("librosa's", "librosa_pyin")):
        print(f"the first recording of a new process, {name}: {first(work, paths[0])}")


def unrounded(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """([n, 2] times, [n] fractional pitches) of the segments behind ``read_audio``."""
    samples = decode_audio(data)
    loudness = frame_loudness(samples)
    pitch, voiced = track(samples)
    found = melody.segments(
        melody.without_octave_errors(pitch), voiced & melody.active_frames(loudness), loudness
    )
    times = [(note.first * melody.FRAME, note.last * melody.FRAME) for note in found]
    return np.array(times), np.array([note.pitch for note in found])


def times_of_librosa(samples: np.ndarray) -> float:
    """How many times as long librosa's pYIN takes."""
    return _seconds(lambda: pyin.librosa_pyin(samples)) / _seconds(lambda: track(samples))


def first(work: str, path: Path) -> str:
    """Seconds and memory of a new process that follows one recording, with nothing compiled before."""
    code = f"""
import time
begun = time.perf_counter()
from pathlib import Path
from emoray.readers.audio import decode_audio, track
from emoray.readers.pyin import librosa_pyin
{work}(decode_audio(Path({str(path)!r}).read_bytes()))
status = Path("/proc/self/status").read_text()
most = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(f"{{time.perf_counter() - begun:.1f}} s, {{most:.0f}} MB")
"""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(Path(__file__).parents[1])}
        return subprocess.check_output([sys.executable, "-c", code], text=True, env=environment).strip()


def _seconds(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def f1(truth: np.ndarray, times: np.ndarray, pitch: np.ndarray) -> float:
    """Note F1 of mir_eval, offsets ignored."""
    import mir_eval

    hertz = [440 * 2 ** ((column - 69) / 12) for column in (truth[:, 2], pitch)]
    return mir_eval.transcription.precision_recall_f1_overlap(
        truth[:, :2], hertz[0], times, hertz[1], offset_ratio=None
    )[2]


def onset_f1(truth: np.ndarray, times: np.ndarray) -> float:
    """The same of onsets alone."""
    import mir_eval

    return mir_eval.transcription.onset_precision_recall_f1(truth[:, :2], times)[2]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
