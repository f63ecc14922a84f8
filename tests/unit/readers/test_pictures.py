from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from emoray.config import Limits
from emoray.errors import FaceError
from emoray.readers.pictures import decode_picture

BLUE, GREEN, RED = range(3)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def ramp(mode: str = "RGB") -> Image.Image:
    """20 wide, 10 high: brighter to the right."""
    row = np.linspace(0, 255, 20).astype(np.uint8)
    return Image.fromarray(np.repeat(row[None], 10, axis=0)).convert(mode)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_a_picture_comes_as_blue_green_red(kind):
    lossless = {"lossless": True} if kind == "WEBP" else {}
    pixels = decode_picture(encoded(Image.new("RGB", (8, 4), (255, 0, 51)), kind, **lossless), Limits())
    assert pixels.shape == (4, 8, 3)
    assert pixels.dtype == np.uint8
    assert pixels[2, 3].tolist() == [51, 0, 255]


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "PNG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("P", "PNG"), ("1", "PNG")]
)
def test_other_colour_models_are_understood(mode, kind):
    pixels = decode_picture(encoded(ramp(mode), kind), Limits()).astype(int)
    assert pixels.shape == (10, 20, 3)
    assert pixels[:, -3:].mean() > pixels[:, :3].mean() + 150


def test_see_through_parts_are_grey():
    image = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    assert (decode_picture(encoded(image, "PNG"), Limits()) == 128).all()


def test_sixteen_bits_of_grey_are_scaled_and_not_cut_off():
    deep = np.linspace(0, 65535, 20).astype(np.uint16)[None].repeat(4, axis=0)
    pixels = decode_picture(encoded(Image.fromarray(deep), "PNG"), Limits())
    np.testing.assert_allclose(pixels[0, :, 0], deep[0] / 257, atol=1)


def test_what_is_no_number_is_black():
    grey = np.array([[np.nan, 100, np.inf, -np.inf]], np.float32)
    pixels = decode_picture(encoded(Image.fromarray(grey), "TIFF"), Limits())
    assert pixels[0, :, 0].tolist()[0] == 0
    assert pixels.dtype == np.uint8


def test_exif_turns_the_picture_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to show it
    pixels = decode_picture(encoded(ramp(), "JPEG", exif=exif), Limits()).astype(int)
    assert pixels.shape == (20, 10, 3)
    assert pixels[-3:].mean() > pixels[:3].mean() + 150


def test_damaged_exif_does_not_lose_the_picture():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(ramp(), "JPEG", exif=exif)
    assert decode_picture(data.replace(b"MM\x00*", b"MM\x00\xff"), Limits()).shape == (10, 20, 3)


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_picture(data, Limits())[3, 3].tolist() == [0, 0, 255]


def test_a_large_jpeg_keeps_enough_pixels():
    pixels = decode_picture(encoded(Image.new("RGB", (6000, 3000)), "JPEG"), Limits())
    assert pixels.shape == (750, 1500, 3)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "1", "I;16"])
def test_any_large_picture_keeps_enough_pixels_and_its_colours(mode):
    bright = 60_000 if mode == "I;16" else "white"
    image = Image.new(mode, (4000, 3000), bright if mode != "P" else 0)
    if mode == "P":
        image.putpalette([255] * 768)
    pixels = decode_picture(encoded(image, "PNG"), Limits())
    assert pixels.shape == (1000, 1334, 3)
    assert (pixels >= 233).all()


def test_a_large_picture_is_turned_upright_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_picture(encoded(Image.new("RGB", (3000, 2600)), "PNG", exif=exif), Limits()).shape == (
        1500,
        1300,
        3,
    )


def test_too_many_bytes_are_refused_before_anything_is_read():
    with pytest.raises(FaceError, match="more than 10 bytes; send a smaller picture"):
        decode_picture(bytes(11), Limits(picture_bytes=10))


@pytest.mark.parametrize("side", [8_000, 12_000, 100_000])
def test_too_many_pixels_are_refused_from_the_header(side):
    """The file holds a header and no pixels at all, so nothing can have been decoded."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"")
    with pytest.raises(FaceError, match="more than 50,000,000 pixels"):
        decode_picture(data, Limits())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        bytes(1000),
        b"MThd\x00\x00\x00\x06",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ],
    ids=["empty", "text", "zeros", "midi", "postscript"],
)
def test_what_is_not_a_picture_is_refused(data):
    with pytest.raises(FaceError, match=r"cannot be read .* send a whole picture"):
        decode_picture(data, Limits())


def test_a_format_that_is_not_listed_is_refused_although_pillow_could():
    data = encoded(ramp(), "PPM")
    assert Image.open(io.BytesIO(data)).size == (20, 10)
    with pytest.raises(FaceError, match="in one of JPEG, PNG, WEBP, GIF, BMP, TIFF"):
        decode_picture(data, Limits())


def test_a_picture_cut_short_is_refused(portrait):
    with pytest.raises(FaceError, match="cannot be read"):
        decode_picture(portrait[: len(portrait) // 2], Limits())


@settings(max_examples=150, derandomize=True, deadline=None)
@given(kind=st.sampled_from(["PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG"]), seed=st.integers(0, 2**32 - 1))
def test_damaged_bytes_never_raise_anything_else(kind, seed):
    random = np.random.default_rng(seed)
    data = bytearray(encoded(ramp(), kind))
    for place in random.integers(0, len(data), random.integers(1, 8)):
        data[place] = random.integers(0, 256)
    with contextlib.suppress(FaceError):
        assert decode_picture(bytes(data), Limits()).ndim == 3
