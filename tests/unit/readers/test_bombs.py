"""Bombs: small files that claim or unfold to something huge cost neither memory nor minutes.

Run as a script, this file reads one from its stdin and says by how many MB memory grew and what became of it.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from emoray.config import Limits
from emoray.errors import EmorayError


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(side: int, depth: int, colour: int, channels: int) -> bytes:
    """A black square, packed a thousandfold."""
    packer, line = zlib.compressobj(1), b"\0" + bytes(side * channels * depth // 8)
    pixels = b"".join([*(packer.compress(line) for _ in range(side)), packer.flush()])
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def wav(claimed: int) -> bytes:
    """A tenth of a second whose header claims so many bytes."""
    form = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    head = b"RIFF" + struct.pack("<I", claimed + 36) + b"WAVEfmt " + struct.pack("<I", len(form)) + form
    return head + b"data" + struct.pack("<I", claimed) + bytes(3_200)


def flac(seconds: int, claimed: int | None = None) -> bytes:
    """Silence at 16 kHz; ``claimed`` samples stand in the header, if it is to lie."""
    import soundfile

    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 16_000, 1, format="FLAC") as out:
        for _ in range(seconds):
            out.write(np.zeros(16_000, np.float32))
    data = bytearray(file.getvalue())
    if claimed is not None:  # the last 36 bits of these eight bytes
        data[18:26] = (int.from_bytes(data[18:26], "big") >> 36 << 36 | claimed).to_bytes(8, "big")
    return bytes(data)


def midi(*tracks: bytes, ticks: int = 480) -> bytes:
    end = b"\0\xff\x2f\0"
    whole = [b"MTrk" + struct.pack(">I", len(track) + 4) + track + end for track in tracks]
    return b"MThd" + struct.pack(">IHHH", 6, 1, min(len(whole), 65_535), ticks) + b"".join(whole)


LONGEST = b"\xff\xff\xff\x7f"
"""A delta time of 2**28 - 1 ticks."""
STRUCK = b"\0\x90\x3c\x40"
PROGRAMS = b"".join(
    b"\0%c%c\0%c\x3c\x40\1%c\x3c\0" % (0xC0 | channel, program, 0x90 | channel, 0x80 | channel)
    for channel in range(9)
    for program in range(128)
)
"""A track for symusic with each note."""


def picture(data: bytes) -> object:
    from emoray.readers.pictures import decode_picture

    return decode_picture(data, Limits()).shape


def recording(data: bytes) -> object:
    from emoray.readers.audio import decode_audio

    return len(decode_audio(data))


def music(data: bytes) -> object:
    from emoray.readers.midi import read_midi

    return len(read_midi(data))


BOMBS: dict[str, tuple[Callable[[bytes], object], Callable[[], bytes], str, int]] = {
    "a picture of 50,000 x 50,000": (
        picture,
        lambda: png(50_000, 1, 0, 1),
        "more than 50,000,000 pixels",
        30,
    ),
    "49 million pixels of colour": (picture, lambda: png(7_000, 8, 6, 4), "(1400, 1400, 3)", 550),
    "49 million deep greys": (picture, lambda: png(7_000, 16, 0, 1), "(1400, 1400, 3)", 450),
    "a WAV that claims 37 hours": (recording, lambda: wav(4_294_967_000), "1600", 30),
    "a FLAC that claims 1,193 hours": (recording, lambda: flac(1, 2**36 - 1), "convert it to WAV", 30),
    "a FLAC of three hours": (recording, lambda: flac(10_800), "9600000", 180),
    "a note of three days": (music, lambda: midi(STRUCK + LONGEST + b"\x80\x3c\0"), "more than 21,600", 30),
    "a note after 142 years": (
        music,
        lambda: midi(b"\0\xff\x51\3\xff\xff\xff" + LONGEST + STRUCK[1:] + b"\1\x3c\0", ticks=1),
        "more than 21,600",
        30,
    ),
    "800,000 tracks by program": (music, lambda: midi(*[PROGRAMS] * 690), "more than 20,000 tracks", 60),
    "65,535 tracks": (music, lambda: midi(*[STRUCK + b"\1\x3c\0"] * 65_535), "more than 20,000 tracks", 60),
    "1,600,000 notes at once": (
        music,
        lambda: midi(STRUCK + b"\0\x3c\x40" * 1_600_000 + b"\1\x3c\0" + b"\0\x3c\0" * 1_600_000),
        "more than 1,000,000 notes",
        350,
    ),
}
"""What reads it, how it is made, what becomes of it, and by how many MB memory may grow at most."""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_or_read_within_bounds(name):
    _, make, expected, most = BOMBS[name]
    done = subprocess.run(
        [sys.executable, __file__, name],
        input=make(),
        capture_output=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr.decode()
    grown, _, became = done.stdout.decode().strip().partition(" ")
    assert expected in became
    assert float(grown) < most


def peak() -> float:
    """Most memory of this process until now, in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main(name: str) -> None:
    read, *_ = BOMBS[name]
    data, became = sys.stdin.buffer.read(), None
    for taste in (data[:100], data):  # imports are none of the bomb's memory
        before = peak()
        try:
            became = read(taste)
        except EmorayError as err:
            became = err
    sys.stdout.write(f"{peak() - before:.0f} {became}")


if __name__ == "__main__":
    main(sys.argv[1])
