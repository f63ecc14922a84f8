"""Survey: what is to be done, from a manifest or from shares that were asked for, and files to try it on."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emoray.batch.folder import MOST_ROWS
from emoray.batch.ledger import Layout
from emoray.batch.stored_manifest import write_manifest_rows
from emoray.config import DEFAULT_NOTES
from emoray.errors import ManifestError
from emoray.planning.costs import Workload
from emoray.readers.manifest import ManifestRow, read_manifest
from emoray.storage import storage_path

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
    entries, intake = _intake(data, name, root)
    good = [entry for entry in entries if entry.error is None]
    if not good:
        raise ManifestError(name, f"has no row without an error, the first is {entries[0].error}")
    timed = [entry for entry in good if entry.notes is None and entry.seconds is not None]
    work = Workload(
        rows=len(good),
        notes=sum(entry.notes or DEFAULT_NOTES for entry in good if entry not in timed) / len(good),
        music_seconds=sum(entry.seconds or 0 for entry in timed) / len(good),
        voices=sum(map(brings_voice, good)) / len(good),
        pictures=sum(entry.image is not None for entry in good) / len(good),
        engine=engine,
    )
    return Survey(work=work, samples=samples_of(good, root), intake=intake)


def assumed(work: Workload) -> Survey:
    """Of a manifest that is not there yet: embedded files, and rows such as it might have."""
    samples = embedded_samples(voices=work.voices > 0, pictures=work.pictures > 0)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "seed.mid").write_bytes(samples.midi[0])
        rows = [{"id": f"row-{row}", "seed": "seed.mid", "emotion": "sad"} for row in range(ASSUMED_ROWS)]
        data = "\n".join(map(json.dumps, rows)).encode()
        _, intake = _intake(data, "assumed.jsonl", Path(folder))
    return Survey(work=work, samples=samples, intake=intake)


def _intake(data: bytes, name: str, root: Path) -> tuple[list[ManifestRow], float]:
    """The entries of a manifest, and the driver's CPU seconds for each: read, checked and stored."""
    _stored(b"{}", "first.jsonl", root)  # pays for what is loaded on the way
    before = time.process_time()
    entries = _stored(data, name, root)
    return entries, (time.process_time() - before) / len(entries)


def _stored(data: bytes, name: str, root: Path) -> list[ManifestRow]:
    entries = read_manifest(data, name=name, root=root)
    with tempfile.TemporaryDirectory() as scratch:
        write_manifest_rows(Layout(storage_path(scratch), len(entries), MOST_ROWS), entries)
    return entries


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


def samples_of(entries: Sequence[ManifestRow], root: Path) -> Samples:
    """Some files of each kind of rows without an error; MIDI is embedded if they bring none."""

    def some(paths: Sequence[str | None]) -> tuple[bytes, ...]:
        chosen = random.Random(0).sample(paths, min(MOST_SAMPLES, len(paths)))
        return tuple((root / path).read_bytes() for path in chosen if path is not None)

    midi = some([entry.seed for entry in entries if not brings_voice(entry)])
    return Samples(
        midi=midi or embedded_samples(voices=False, pictures=False).midi,
        voice=some([entry.seed for entry in entries if brings_voice(entry)]),
        picture=some([entry.image for entry in entries if entry.image is not None]),
    )


def brings_voice(entry: ManifestRow) -> bool:
    """Whether a row's seed is a recording, by its name."""
    return Path(entry.seed or "").suffix.lower() not in (".mid", ".midi", ".rmi")
