"""Doors: where bytes of strangers come in, each as a function that raises only if a promise is broken.

A door says whether it took the bytes; a refusal (``EmorayError``) is an answer as well. Whatever else comes
out is a finding. ``run.py`` feeds these from a fuzzer, ``test_doors.py`` with their own seeds and with what
was found so far.
"""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from web_door import HTTP_SEEDS, HTTP_WORDS, enter_http

from emoray.config import Limits
from emoray.errors import AudioError, FaceError, ManifestError, MidiError, RequestError
from emoray.notes import end
from emoray.readers.audio import read_audio
from emoray.readers.manifest import COLUMNS, check_files, read_manifest
from emoray.readers.midi import read_performance
from emoray.readers.pictures import decode_picture
from emoray.request import REQUEST_OPTIONS, GenerationRequest, Result
from emoray.storage import storage_path

Enter = Callable[[bytes], bool]


@dataclass(frozen=True, kw_only=True)
class Door:
    """One way in."""

    enter: Enter
    seeds: Callable[[], list[bytes]]
    """Good input, for a fuzzer to damage."""
    longest: int
    """Bytes that a fuzzer tries."""
    words: tuple[bytes, ...] = ()
    """What a fuzzer would take long to spell."""


def enter_midi(data: bytes) -> bool:
    """The bytes of a whole file."""
    with contextlib.suppress(MidiError):
        key_down, sounding = read_performance(data)
        assert len(key_down)
        assert (np.diff(key_down["onset"]) >= 0).all()
        np.testing.assert_array_equal(key_down["onset"], sounding["onset"])
        assert (key_down["duration"] <= sounding["duration"]).all()
        assert end(sounding) <= Limits().midi_seconds + 1
        return True
    return False


def enter_tracks(data: bytes) -> bool:
    """Time division and events, in frames that are right: a fuzzer seldom spells lengths."""
    division, body = data[:2].rjust(2, b"\1"), data[2:]
    tracks = body.split(b"MTrk")
    header = b"MThd\0\0\0\6\0\1" + len(tracks).to_bytes(2, "big") + division
    return enter_midi(header + b"".join(b"MTrk" + len(track).to_bytes(4, "big") + track for track in tracks))


def manifest_door(suffix: str) -> Enter:
    """The bytes of a manifest in one format."""

    def enter(data: bytes) -> bool:
        root = _root()
        with contextlib.suppress(ManifestError):
            rows = read_manifest(data, name=f"m{suffix}")
            assert all(row.error for row in rows if isinstance(row, Result))
            good = [row for row in rows if isinstance(row, GenerationRequest)]
            assert len({request.id for request in good}) == len(good)
            for request in good:
                for name, value in request.asked.items():
                    REQUEST_OPTIONS[name].check(value)
                with contextlib.suppress(RequestError):
                    check_files(request, storage_path(root), Limits())
                    for file in request.files.values():
                        assert (root / file.name).resolve(strict=True).is_relative_to(root)
            return True
        return False

    return enter


def enter_audio(data: bytes) -> bool:
    """The bytes of a recording; its last half second is heard, so that a fuzzer gets along."""
    with contextlib.suppress(AudioError):
        assert len(read_audio(data, limits=Limits(audio_seconds=0.5)))
        return True
    return False


def enter_picture(data: bytes) -> bool:
    """The bytes of a picture."""
    with contextlib.suppress(FaceError):
        pixels = decode_picture(data, Limits(picture_pixels=1_000_000))
        assert pixels.dtype == np.uint8
        assert pixels.shape[2:] == (3,)
        return True
    return False


@cache
def _root() -> Path:
    """A root with one file in it, and a link that leaves."""
    folder = Path(tempfile.mkdtemp(prefix="emoray-fuzz-")).resolve()
    root = folder / "root"
    root.mkdir()
    for file in (root / "a.mid", folder / "outside.mid"):
        file.write_bytes(b"MThd")
    (root / "link.mid").symlink_to(folder / "outside.mid")
    return root


def _tracks() -> list[bytes]:
    on_off = b"\0\x90\x3c\x40\x60\x80\x3c\0\0\x3e\x50\x60\x3e\0"
    tempo = b"\0\xff\x51\3\7\xa1\x20"
    pedal = b"\0\xb0\x40\x7f\0\x90\x3c\x40\x20\x3c\0\x60\xb0\x40\0\0\x90\x3c\x30\x10\x3c\0"
    drums = b"\0\xc9\1\0\x99\x24\x40\x10\x24\0"
    text, sysex, close = b"\0\xff\3\4name", b"\0\xf0\3\1\2\xf7", b"\0\xff\x2f\0"
    bend = b"\0\xe0\0\x40\0\xd0\x10\0\xa0\x3c\x10"
    bodies = (tempo + on_off, pedal, drums + on_off, text + sysex + bend + on_off, on_off + tempo + on_off)
    return [b"\1\xe0" + body + close for body in bodies] + [
        b"\1\xe0" + tempo + close + b"MTrk" + on_off + close,
        b"\xe7\x28" + on_off + close,  # 25 frames a second
    ]


def _files() -> list[bytes]:
    heads = [b"MThd\0\0\0\6\0" + kind + b"\0\1" + body[:2] for body in _tracks() for kind in (b"\0", b"\1")]
    bodies = [body[2:] for body in _tracks() for _ in range(2)]
    return [
        head + b"MTrk" + len(body).to_bytes(4, "big") + body for head, body in zip(heads, bodies, strict=True)
    ]


def _json_lines() -> list[bytes]:
    return [
        b'{"seed": "a.mid", "emotion": "happy"}\n{"id": "x", "seed": "link.mid", "image": "a.mid"}\n',
        b'{"id": 7, "seed": "a.mid", "curve": [[0, 1], [2.5, -1, 0.5]], "notes": "40", "seconds": 1e1}\n',
        b'\xef\xbb\xbf{"seed":"../a.mid","emotion":-0.5,"arousal":1,"top_p":0.9,"guidance":"cfg"}\r\n[1]',
        b'{"seed": "\\ud800", "emotion": null, "strength": 2, "random_seed": 9223372036854775807}',
    ]


def _csv() -> list[bytes]:
    row = {name: option.example for name, option in REQUEST_OPTIONS.items()} | {"seed": "a.mid", "image": ""}
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerow(row)
    return [
        file.getvalue().encode(),
        b'seed,emotion\na.mid,happy\n"a.mid",0.5\n',
        b'id,seed,image\n1,a.mid,"link.mid"\n1,./a.mid,a.mid\n,,\n',
    ]


def _parquet() -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = pa.table({"seed": ["a.mid", None], "emotion": ["happy", "0.5"]})
    typed = pa.table({"id": [1, 2], "seed": ["a.mid"] * 2, "curve": [[[0.0, 1.0]]] * 2, "notes": [3.0, None]})
    dates = pa.table({"seed": ["a.mid"], "id": pa.array([0], pa.timestamp("us")), "emotion": [b"x"]})
    small = pa.table({"seed": ["a.mid"], "emotion": pa.array([{"a": 1}])})
    found = []
    for table, codec in ((plain, "none"), (typed, "snappy"), (dates, "gzip"), (small, "zstd")):
        file = io.BytesIO()
        pq.write_table(table, file, compression=codec, store_schema=codec != "none")
        found.append(file.getvalue())
    return found


def _recordings() -> list[bytes]:
    import soundfile

    sung = 0.4 * np.sin(2 * np.pi * 220 * np.arange(4_000) / 8_000)
    found = []
    for kind in ("WAV", "FLAC", "OGG", "AIFF", "AU", "MP3"):
        file = io.BytesIO()
        soundfile.write(file, sung[: 4_000 if kind in ("OGG", "MP3") else 1_000], 8_000, format=kind)
        found.append(file.getvalue())
    return found


def _pictures() -> list[bytes]:
    from PIL import Image

    found = []
    row = np.linspace(0, 255, 12).astype(np.uint8)[None].repeat(6, axis=0)
    for kind, mode in (("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"),
                       ("TIFF", "F"), ("WEBP", "RGBA"), ("JPEG", "RGB"), ("JPEG", "CMYK")):  # fmt: skip
        file = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(row).convert(mode).save(file, kind, exif=exif)
        found.append(file.getvalue())
    return found


_JSON_WORDS = (
    *(f'"{name}"'.encode() for name in COLUMNS), b"happy", b"a.mid", b"link.mid", b"\\ud800"
)  # fmt: skip
DOORS: dict[str, Door] = {
    "midi": Door(enter=enter_midi, seeds=_files, longest=512, words=(b"MThd", b"MTrk", b"\xff\x51\3")),
    "tracks": Door(
        enter=enter_tracks, seeds=_tracks, longest=512, words=(b"MTrk", b"\xff\x51\3", b"\xff\x2f")
    ),
    "jsonl": Door(enter=manifest_door(".jsonl"), seeds=_json_lines, longest=1_000, words=_JSON_WORDS),
    "csv": Door(enter=manifest_door(".csv"), seeds=_csv, longest=1_000, words=_JSON_WORDS),
    "parquet": Door(enter=manifest_door(".parquet"), seeds=_parquet, longest=4_096, words=(b"PAR1",)),
    "http": Door(enter=enter_http, seeds=lambda: HTTP_SEEDS, longest=4_096, words=HTTP_WORDS),
    "audio": Door(enter=enter_audio, seeds=_recordings, longest=8_192, words=(b"RIFF", b"fmt ", b"data")),
    "picture": Door(enter=enter_picture, seeds=_pictures, longest=4_096, words=(b"IHDR", b"IDAT", b"VP8L")),
}
