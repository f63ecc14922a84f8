"""Bare: the requests of a manifest answered without Ray: the bound of the engines, and a plain script.

The bound runs `generate_results` on the same shards with one process for each core and one torch thread in
each; a process takes the next shard when it has finished one. Its clock starts when every process has loaded
its models and answered a request and the files are read; nothing is written. The script is one process that
answers row after row, reads one picture at a time, tracks pitch by librosa's pYIN with librosa's settings,
composes one sequence at a time, and leaves torch its default number of threads.
"""

import io
import itertools
import multiprocessing
import time
from collections import Counter
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from figures import CORES

from emoray.config import Limits
from emoray.generation import generate_results, write
from emoray.notes import as_notes
from emoray.pipeline.worker import LOADERS
from emoray.readers.manifest import read_files, read_manifest
from emoray.request import GenerationRequest
from emoray.storage import storage_path
from emoray.web.settings import ServeSettings

FRESH = multiprocessing.get_context("spawn")
WRITING = "writing MIDI"

_engine = {}
"""Of a process of the bound: what it loaded, and the barrier where it waits for the others."""


def items_of(manifest: Path) -> list[GenerationRequest]:
    """Every row with its files read."""
    root, rows = storage_path(manifest.parent), read_manifest(manifest.read_bytes(), name=manifest.name)
    return [read_files(request, root, Limits()) for request in rows]


def bound(items, shard, checkpoint=None):
    """(wall seconds, seconds by stage over all processes, sha256 of each item's music)."""
    shards = [items[first : first + shard] for first in range(0, len(items), shard)]
    settings, barrier = ServeSettings(checkpoint=checkpoint), FRESH.Barrier(CORES)
    with FRESH.Pool(CORES, _load, (settings, barrier)) as pool:
        pool.map(_warm, [items[0]] * CORES, chunksize=1)
        started = time.monotonic()
        done = pool.map(_answer, shards, chunksize=1)
        seconds = time.monotonic() - started
    stages = sum((Counter(spent) for spent, _ in done), Counter())
    return seconds, dict(stages), {name: digest for _, found in done for name, digest in found.items()}


def _load(settings, barrier):
    composer, guidance = LOADERS.composer(settings)
    _engine.update(
        faces=LOADERS.faces(settings), seeds=LOADERS.seeds(settings), composing=composer.compose,
        guidance=guidance, barrier=barrier,
    )  # fmt: skip


def _warm(item):
    """An item for each process: it waits there until all have theirs."""
    _engine["barrier"].wait()
    _answer([item.model_copy(update={"notes": 1})])
    _engine["barrier"].wait()


def _answer(items):
    """(seconds by stage, sha256 by id) of a shard."""
    spent = {}
    started = time.monotonic()
    results = generate_results(
        items,
        read_faces=partial(_timed, spent, "faces"),
        read_seed=partial(_timed, spent, "seeds"),
        compose=partial(_timed, spent, "composing"),
        guidance=_engine["guidance"],
    )
    music = {result.id: write(result) for result in results}
    spent[WRITING] = time.monotonic() - started - sum(spent.values())
    return spent, {name: sha256(data).hexdigest() for name, data in music.items() if data}


def _timed(spent, stage, asked):
    started = time.monotonic()
    try:
        return _engine[stage](asked)
    finally:  # what is refused takes its time as well
        spent[stage] = spent.get(stage, 0.0) + time.monotonic() - started


def script(items, checkpoint=None):
    """Wall seconds of a plain script for these items, in a process of its own, models loaded before."""
    receiver, sender = FRESH.Pipe(duplex=False)
    process = FRESH.Process(target=_script, args=(items, checkpoint, sender))
    process.start()
    sender.close()
    seconds = receiver.recv()
    process.join()
    return seconds


def _script(items, checkpoint, sender):
    from emoray.compose.decoding import BatchDecoder
    from emoray.model.checkpoint import load_checkpoint

    settings, loaded = ServeSettings(checkpoint=checkpoint), load_checkpoint(checkpoint)
    faces, midi = LOADERS.faces(settings), LOADERS.seeds(settings)
    compose = BatchDecoder(loaded).compose

    def read_seed(seed):
        return midi(seed) if seed.content[:4] == b"MThd" else by_librosa(seed.content)

    def answer(item):
        [result] = generate_results(
            [item], read_faces=faces, read_seed=read_seed, compose=compose, guidance=loaded.guidance
        )
        return write(result)

    answer(items[0].model_copy(update={"notes": 1}))
    started = time.monotonic()
    for item in items:
        answer(item)
    sender.send(time.monotonic() - started)


def by_librosa(data):
    """The melody of a recording as a script would find it: pYIN, and a note for each run of one pitch."""
    import librosa

    samples, rate = librosa.load(io.BytesIO(data))
    hertz, _, _ = librosa.pyin(samples, sr=rate, fmin=librosa.note_to_hz("C2"), fmax=librosa.note_to_hz("C7"))
    pitch = np.nan_to_num(np.rint(librosa.hz_to_midi(hertz)), nan=0.0)
    edges = np.flatnonzero(np.diff(pitch, prepend=-1, append=-1))
    runs = [(first, last) for first, last in itertools.pairwise(edges) if pitch[first]]
    times = librosa.times_like(np.arange(len(pitch) + 1), sr=rate)
    onset, stop = (times[list(side)] for side in zip(*runs, strict=True))
    return as_notes(onset, stop - onset, pitch[[first for first, _ in runs]], np.full(len(runs), 80))
