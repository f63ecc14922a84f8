"""The demo's input, written to a folder as a user would bring it: MIDI, metadata, labels, seeds, a manifest.

Everything is made from the embedded pieces; the one picture is the official Navy portrait of Rear Admiral
Grace Hopper (a work of the US government, so in the public domain) that ships inside matplotlib.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from emoray.demo.hum import hum
from emoray.demo.pieces import pieces
from emoray.demo.score import DemoPiece
from emoray.notes import Notes, end
from emoray.writers.midi import midi_bytes

HUMMED, HUMMED_SECONDS = "ode_to_joy", 16.0
OPENING_SECONDS = 12.0
"""A seed is the opening of a piece: the rest is left to compose."""
NOTES = 120


@dataclass(frozen=True, kw_only=True)
class DemoFiles:
    """Where each input lies."""

    midi: Path
    """The folder of MIDI files, one a piece."""
    metadata: Path
    """csv with the column names of MAESTRO v3; its paths are relative to ``midi``."""
    labels: Path
    """csv with midi, valence and arousal; its paths are relative to itself."""
    manifest: Path
    """JSONL; its paths are relative to itself."""
    hummed: Path
    """A WAV of the melody that the manifest uses as a hummed seed."""
    picture: Path | None
    """None when this matplotlib ships no photograph."""


def write_demo(folder: Path) -> DemoFiles:
    """Write the demo's input into a folder, which is made if need be."""
    midi, seeds = folder / "midi", folder / "seeds"
    for made in (midi, seeds):
        made.mkdir(parents=True, exist_ok=True)
    works = pieces()
    for piece in works:
        (midi / f"{piece.name}.mid").write_bytes(midi_bytes(piece.notes))
        (seeds / f"{piece.name}.mid").write_bytes(midi_bytes(opening(piece.notes, OPENING_SECONDS)))
    hummed = seeds / "hummed.wav"
    melody = next(piece.melody for piece in works if piece.name == HUMMED)
    hummed.write_bytes(hum(opening(melody, HUMMED_SECONDS)))
    picture = _picture(folder / "portrait.jpg")
    written = DemoFiles(
        midi=midi,
        metadata=folder / "metadata.csv",
        labels=folder / "labels.csv",
        manifest=folder / "manifest.jsonl",
        hummed=hummed,
        picture=picture,
    )
    _write_csv(written.metadata, [_metadata(piece) for piece in works])
    _write_csv(written.labels, [_label(piece) for piece in works])
    rows = "".join(json.dumps(row) + "\n" for row in manifest(with_picture=picture is not None))
    written.manifest.write_text(rows, encoding="utf-8")
    return written


def opening(notes: Notes, seconds: float) -> Notes:
    """The notes that start within so many seconds."""
    return notes[notes["onset"] < seconds]


def manifest(*, with_picture: bool) -> Iterator[dict[str, object]]:
    """The rows: the same seeds happy and sad, two degrees between, and one led by a picture."""
    asked: list[tuple[str, str, dict[str, object]]] = [
        ("hummed-happy", "hummed.wav", {"emotion": "happy"}),
        ("hummed-sad", "hummed.wav", {"emotion": "sad"}),
        ("minuet-happy", "minuet_in_g.mid", {"emotion": "happy"}),
        ("minuet-sad", "minuet_in_g.mid", {"emotion": "sad"}),
        ("greensleeves-happy", "greensleeves.mid", {"emotion": "happy"}),
        ("greensleeves-sad", "greensleeves.mid", {"emotion": "sad"}),
        ("gymnopedie-a-little-happy", "gymnopedie.mid", {"emotion": 0.5}),
        ("entertainer-a-little-sad", "the_entertainer.mid", {"emotion": -0.5}),
    ]
    for name, seed, emotion in asked:
        yield {"id": name, "seed": f"seeds/{seed}", **emotion, "notes": NOTES}
    face: dict[str, object] = {"image": "portrait.jpg"} if with_picture else {}
    yield {
        "id": "prelude-by-face",
        "seed": "seeds/prelude_in_c.mid",
        **face,
        "emotion": "happy",
        "notes": NOTES,
    }


def _metadata(piece: DemoPiece) -> dict[str, object]:
    return {
        "canonical_composer": piece.composer,
        "canonical_title": piece.title,
        "split": piece.split,
        "year": piece.year,
        "midi_filename": f"{piece.name}.mid",
        "audio_filename": "",
        "duration": round(end(piece.notes), 3),
    }


def _label(piece: DemoPiece) -> dict[str, object]:
    return {"midi": f"midi/{piece.name}.mid", "valence": piece.valence, "arousal": piece.arousal}


def _write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def portrait() -> Path | None:
    """The picture where matplotlib ships it; None if this one does not."""
    package = find_spec("matplotlib")  # found without being imported
    if package is None or package.origin is None:
        return None
    original = Path(package.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    return original if original.is_file() else None


def _picture(path: Path) -> Path | None:
    original = portrait()
    return None if original is None else Path(shutil.copyfile(original, path))
