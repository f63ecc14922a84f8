"""Measurement: what a batch consists of, files to try it on, and the unit costs of its steps on this machine.

Conventions
-----------
It takes some ten seconds and no Ray. As many processes measure side by side as the machine has cores, because
a core is slower while the others work; the estimate gets their mean. Everything is done twice: the first time
pays for what is loaded on the way. Times are CPU seconds, so that other work on the machine counts little;
only committing, which waits for a disk, is timed by the clock, at its best.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from emoray.batch.folder import MOST_ROWS
from emoray.batch.ledger import SCHEMA, Layout, commit, music_path
from emoray.batch.stored_manifest import CheckedRow, write_manifest_rows
from emoray.config import Limits
from emoray.errors import EmorayError, ManifestError, RequestError
from emoray.generation import failed
from emoray.notes import Notes, end
from emoray.planning.estimate import Composing, Cost, UnitCosts, Workload
from emoray.readers.manifest import check_files, read_manifest
from emoray.request import DEFAULT_NOTES, File, GenerationRequest, Prompt, Result
from emoray.storage import StoragePath, storage_path

MOST_SAMPLES = 4
"""Files of each kind; all of them are read, and the cost is their mean."""
VOICE_SECONDS = 8.0
ASSUMED_ROWS = 2_000
"""Of a manifest that is written to time the driver."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Files as the rows of a batch bring them, by their bytes; no voices or pictures, no cost of them."""

    midi: tuple[bytes, ...]
    voice: tuple[bytes, ...] = ()
    picture: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What is to be done, files to try it on, and what the driver takes for a row of the manifest."""

    work: Workload
    samples: Samples
    intake: float


def survey(data: bytes, name: str, root: Path, engine: str) -> Survey:
    """Of a real manifest.

    Raises:
        ManifestError: it cannot be used.
    """
    rows, intake = _intake(data, name)
    checked = [_checked(row, storage_path(root)) for row in rows]
    good = [request for request in checked if isinstance(request, GenerationRequest)]
    if not good:
        [first, *_] = (row.error for row in checked if isinstance(row, Result))
        raise ManifestError(name, f"has no row without an error, the first is {first}")
    timed = [request.seconds for request in good if request.notes is None and request.seconds is not None]
    counted = [request.notes or DEFAULT_NOTES for request in good if request.notes or request.seconds is None]
    work = Workload(
        rows=len(good),
        notes=sum(counted) / len(good),
        music_seconds=sum(timed) / len(good),
        voices=sum(map(brings_voice, good)) / len(good),
        pictures=sum(request.image is not None for request in good) / len(good),
        engine=engine,
    )
    return Survey(work=work, samples=samples_of(good, root), intake=intake)


def assumed(work: Workload) -> Survey:
    """Of a manifest that is not there yet: embedded files, and rows such as it might have."""
    samples = embedded_samples(voices=work.voices > 0, pictures=work.pictures > 0)
    rows = [{"id": f"row-{row}", "seed": "seed.mid", "emotion": "sad"} for row in range(ASSUMED_ROWS)]
    data = "\n".join(map(json.dumps, rows)).encode()
    _, intake = _intake(data, "assumed.jsonl")
    return Survey(work=work, samples=samples, intake=intake)


def _checked(row: CheckedRow, root: StoragePath) -> CheckedRow:
    """A request whose files are there; else the result of one that would fail."""
    if isinstance(row, Result):
        return row
    try:
        check_files(row, root, Limits())
    except RequestError as err:
        return failed(row, err)
    return row


def _intake(data: bytes, name: str) -> tuple[list[CheckedRow], float]:
    """The rows of a manifest, and the driver's CPU seconds for each: read, checked and stored."""
    _stored(b"{}", "first.jsonl")  # pays for what is loaded on the way
    before = time.process_time()
    rows = _stored(data, name)
    return rows, (time.process_time() - before) / len(rows)


def _stored(data: bytes, name: str) -> list[CheckedRow]:
    rows = read_manifest(data, name=name)
    with tempfile.TemporaryDirectory() as scratch:
        write_manifest_rows(Layout(storage_path(scratch), len(rows), MOST_ROWS), rows)
    return rows


def embedded_samples(*, voices: bool, pictures: bool) -> Samples:
    """Openings of the embedded pieces, one of them hummed, and the portrait, if one ships."""
    from emoray.demo.files import HUMMED, OPENING_SECONDS, opening, portrait
    from emoray.demo.hum import hum
    from emoray.demo.pieces import pieces
    from emoray.writers.midi import midi_bytes

    works, picture = pieces(), portrait() if pictures else None
    melody = next(piece.melody for piece in works if piece.name == HUMMED)
    return Samples(
        midi=tuple(midi_bytes(opening(piece.notes, OPENING_SECONDS)) for piece in works[:MOST_SAMPLES]),
        voice=(hum(opening(melody, VOICE_SECONDS)),) if voices else (),
        picture=(picture.read_bytes(),) if picture else (),
    )


def samples_of(requests: Sequence[GenerationRequest], root: Path) -> Samples:
    """Some files of each kind of rows without an error; MIDI is embedded if they bring none."""

    def some(files: Sequence[File]) -> tuple[bytes, ...]:
        chosen = random.Random(0).sample(files, min(MOST_SAMPLES, len(files)))
        return tuple((root / file.name).read_bytes() for file in chosen)

    midi = some([request.seed for request in requests if not brings_voice(request)])
    return Samples(
        midi=midi or embedded_samples(voices=False, pictures=False).midi,
        voice=some([request.seed for request in requests if brings_voice(request)]),
        picture=some([request.image for request in requests if request.image is not None]),
    )


def brings_voice(request: GenerationRequest) -> bool:
    """Whether a request's seed is a recording, by its name."""
    return Path(request.seed.name).suffix.lower() not in (".mid", ".midi", ".rmi")


FEW, MANY = 8, MOST_ROWS
"""Rows composed together: what is between lies on a line."""
FEW_NOTES, MORE_NOTES = 4, 24
"""The first prefills the seeds; what the second takes longer is the price of a note."""
COMMITS = 5
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""That this process may use."""

Sample = TypeVar("Sample")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every process measures."""

    samples: Samples
    checkpoint: Path | None
    guidance: str | None
    faces: str
    folder: Path
    """Where files are committed: on the storage that the batch will use."""


def calibrate(setting: Setting, intake: float) -> UnitCosts:
    """The mean of what every core measures; ``intake`` is what the driver was found to take for a row."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, mp_context=spawning) as pool:
        found = list(pool.map(measured, [setting] * CORES))
    return dataclasses.replace(_mean(found), intake=intake)


def measured(setting: Setting) -> UnitCosts:
    """All unit costs but the driver's, in this process, which has done nothing else before."""
    began = time.monotonic()
    import torch

    from emoray.compose.decoding import BatchDecoder
    from emoray.model.checkpoint import load_checkpoint
    from emoray.model.preset import reads_sounding
    from emoray.readers.face import FaceReader
    from emoray.readers.seed import read_seed
    from emoray.writers.midi import midi_bytes

    torch.set_num_threads(1)
    checkpoint, faces = load_checkpoint(setting.checkpoint), FaceReader(setting.faces)
    composer, guidance = BatchDecoder(checkpoint), setting.guidance or checkpoint.guidance
    read = partial(read_seed, sounding=reads_sounding(setting.checkpoint))
    load = time.process_time()
    embedded = embedded_samples(voices=bool(setting.samples.voice), pictures=False)
    midi = _cost(read, setting.samples.midi)
    midi = midi if midi.each else _cost(read, embedded.midi)
    voice = _cost(read, setting.samples.voice)
    voice = voice if voice.each else _cost(read, embedded.voice)
    picture = _cost(lambda data: faces.read([data]), setting.samples.picture)
    seeds = _readable(read, setting.samples.midi) or _readable(read, embedded.midi)
    write = _cost(midi_bytes, seeds)
    seed_notes = sum(map(len, seeds)) / len(seeds)
    music = midi_bytes(seeds[0])
    few, many = (_composing(composer.compose, seeds, guidance, rows) for rows in (FEW, MANY))
    return UnitCosts(
        load=load,
        midi=midi,
        voice=voice,
        picture=picture,
        few=few,
        many=many,
        pace=seed_notes * len(seeds) / sum(map(end, seeds)),
        seed_notes=seed_notes,
        write=Cost(first=write.first, each=write.each / seed_notes),
        commit=_committing(setting.folder, music),
        intake=0.0,
        worker_bytes=_peak_bytes(),
        note_bytes=len(music) / len(seeds[0]),
        share=min(1.0, time.process_time() / (time.monotonic() - began)),
    )


def _seconds(work: Callable[[], Any]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _cost(work: Callable[[Sample], Any], samples: Sequence[Sample]) -> Cost:
    """The cost of one sample, and what the very first took longer; a damaged one is left out."""
    first, each = 0.0, list[float]()
    for sample in samples:
        try:
            first = first or _seconds(partial(work, sample))
            each.append(_seconds(partial(work, sample)))
        except EmorayError:  # a row that fails costs little
            continue
    return Cost(first=max(0.0, first - each[0]), each=sum(each) / len(each)) if each else Cost()


def _readable(read: Callable[[bytes], Notes], samples: Sequence[bytes]) -> list[Notes]:
    """The notes of the samples that are not damaged."""
    found = []
    for data in samples:
        with contextlib.suppress(EmorayError):
            found.append(read(data))
    return found


def _composing(
    compose: Callable[[Sequence[Prompt]], Any], seeds: Sequence[Notes], guidance: str, rows: int
) -> Composing:
    """Composing for so many rows at once."""

    def taken(notes: int) -> float:
        requests = [
            Prompt(
                seed=seeds[number % len(seeds)],
                valence=1.0 - 2 * (number % 2),
                guidance=guidance,
                notes=notes,
                random_seed=number,
            )
            for number in range(rows)
        ]
        return _seconds(lambda: compose(requests))

    taken(1)  # the first time at this size
    short, long = taken(FEW_NOTES), taken(MORE_NOTES)
    note = (long - short) / (MORE_NOTES - FEW_NOTES)
    return Composing(rows=rows, prefill=short - FEW_NOTES * note, note=note)


def _committing(folder: Path, music: bytes) -> float:
    """Seconds by the clock for a row of a whole shard; what was written is removed."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="emoray-plan-") as scratch:
        layout = Layout(storage_path(scratch), COMMITS * MANY, MANY)
        best = math.inf
        for number in layout.shards:
            ids = {row: f"{row}-{os.getpid()}" for row in layout.rows_of(number)}
            rows = [dict.fromkeys(SCHEMA.names) | {"row": row, "id": name} for row, name in ids.items()]
            files = {music_path(name): music for name in ids.values()}
            began = time.monotonic()
            commit(layout, number, rows, files)
            best = min(best, time.monotonic() - began)
    return best / MANY


def _peak_bytes() -> float:
    """The most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return float(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _mean(found: Sequence[Any]) -> Any:
    """Of dataclasses of numbers, and of such dataclasses."""
    if not dataclasses.is_dataclass(found[0]):
        return sum(found) / len(found)
    names = [field.name for field in dataclasses.fields(found[0])]
    fields = {name: _mean([getattr(one, name) for one in found]) for name in names}
    return dataclasses.replace(found[0], **fields)  # type: ignore[type-var]
