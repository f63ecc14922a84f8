"""Rows: manifests for benchmarks, from folders of MIDI, pictures and voices that the caller names."""

import itertools
import json
from pathlib import Path

import soundfile

from emoray.readers.midi import read_midi
from emoray.writers.midi import midi_bytes

EMOTIONS = ("happy", "sad", "excited", "tense", "calm", "gloomy", 0.5, -0.5)
VOICES, PICTURES = {".flac", ".wav", ".ogg", ".mp3"}, {".jpg", ".jpeg", ".png"}


def music_rows(folder: Path, midi_dir: Path, count: int, *, seed_notes: int, notes: int) -> Path:
    """A manifest of rows with a seed of their own, cut from a MIDI file, and an emotion."""
    sources = [path.read_bytes() for path in spread(midi_dir, {".mid", ".midi"}, count)]
    rows = []
    for number, (data, emotion) in enumerate(
        itertools.islice(zip(itertools.cycle(sources), itertools.cycle(EMOTIONS), strict=False), count)
    ):
        piece = read_midi(data)
        first = (7 * number) % max(1, len(piece) - seed_notes)
        seed = folder / "seeds" / f"{number:06}.mid"
        seed.parent.mkdir(parents=True, exist_ok=True)
        seed.write_bytes(midi_bytes(piece[first : first + seed_notes]))
        rows.append(
            {"id": f"music-{number}", "seed": f"seeds/{seed.name}", "emotion": emotion, "notes": notes}
        )
    return write_manifest(folder, rows)


def mixed_rows(folder: Path, faces: Path, voices: Path, count: int, *, seconds: float, notes: int) -> Path:
    """A manifest of rows with a picture, the opening of a recording and an emotion as a fallback."""
    pictures, recordings = spread(faces, PICTURES, count), spread(voices, VOICES, count)
    for made in ("pictures", "voices"):
        (folder / made).mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(pictures):
        (folder / "pictures" / f"{number}{path.suffix}").write_bytes(path.read_bytes())
    for number, path in enumerate(recordings):
        with soundfile.SoundFile(path) as file:
            opening = file.read(round(seconds * file.samplerate))
            soundfile.write(folder / "voices" / f"{number}.flac", opening, file.samplerate)
    rows = []
    for number in range(count):
        picture = number % len(pictures)
        rows.append(
            {
                "id": f"mixed-{number}",
                "seed": f"voices/{number % len(recordings)}.flac",
                "image": f"pictures/{picture}{pictures[picture].suffix}",
                "emotion": EMOTIONS[number % 2],
                "notes": notes,
            }
        )
    return write_manifest(folder, rows)


def spread(folder: Path, suffixes: set[str], count: int) -> list[Path]:
    """At most so many files of these kinds, evenly from all over a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    if not paths:
        raise SystemExit(f"{folder}: holds no {' or '.join(sorted(suffixes))}; name another folder")
    return paths[:: max(1, len(paths) // count)][:count]


def write_manifest(folder: Path, rows: list[dict[str, object]]) -> Path:
    """JSONL, a row a line."""
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
