"""Pictures: bytes from anywhere to pixels, within limits.

Conventions
-----------
A picture is [h, w, 3] uint8 in OpenCV's order (blue, green, red), upright as its EXIF says, without
transparency (see-through parts become grey) and without animation (the first frame counts). A large picture
is reduced, a JPEG while it is decoded: a face is looked for on far fewer pixels than a camera takes, and some
kilobytes of PNG may hold 50 million.

Nothing is written anywhere, and no error repeats what a picture holds.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emoray.config import Limits
from emoray.errors import FaceError

if TYPE_CHECKING:
    import PIL.Image

Picture = NDArray[np.uint8]
"""[h, w, 3] uint8, blue, green, red."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Read; other decoders stay closed to strangers (one of Pillow's starts Ghostscript)."""
ENOUGH = 1280
"""Pixels of the longer side that are kept at least."""


def decode(data: bytes, limits: Limits, *, subject: object = "picture") -> Picture:
    """Bytes to pixels.

    Raises:
        FaceError: too many bytes or pixels, not a picture, or a damaged one.
    """
    if len(data) > limits.picture_bytes:
        raise FaceError(subject, f"has more than {limits.picture_bytes:,} bytes; send a smaller picture")
    return _pixels(_upright(data, limits, subject))


def _upright(data: bytes, limits: Limits, subject: object) -> PIL.Image.Image:
    """A decoded picture that is no larger than it need be.

    Raises:
        FaceError: too many pixels, not a picture, or a damaged one.
    """
    from PIL import Image, ImageOps

    too_large = FaceError(subject, f"has more than {limits.picture_pixels:,} pixels; send a smaller picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF, odd palettes: the pixels are what counts
            with _opened(data) as image:
                pixels = image.width * image.height  # from the header: nothing is decoded yet
                if pixels > limits.picture_pixels:
                    raise too_large
                enough = ENOUGH / max(image.size)
                image.draft(None, (round(image.width * enough), round(image.height * enough)))
                image.load()
                return ImageOps.exif_transpose(_reduced(image))
    except FaceError:
        raise
    except Image.DecompressionBombError:
        raise too_large from None
    except Exception as err:  # Pillow's decoders raise nearly anything on damaged bytes
        formats = ", ".join(FORMATS)
        reason = f"cannot be read ({type(err).__name__}); send a whole picture in one of {formats}"
        raise FaceError(subject, reason) from err


def _opened(data: bytes) -> PIL.Image.Image:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is the lower one
        return Image.open(io.BytesIO(data), formats=FORMATS)


def _reduced(image: PIL.Image.Image) -> PIL.Image.Image:
    """Fewer pixels, before anything copies them."""
    factor = max(image.size) // ENOUGH
    if factor < 2:
        return image
    if image.mode in ("1", "P", "PA"):  # no colours that could be averaged
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode.startswith("I;"):
        image = image.convert("I")
    return image.reduce(factor)


def _pixels(image: PIL.Image.Image) -> Picture:
    from PIL import Image

    if image.mode[0] in "IF":  # 16 or 32 bits of grey, which Pillow would clip at 255
        with np.errstate(invalid="ignore"):
            deep = np.nan_to_num(np.asarray(image, dtype=float))  # a damaged TIFF may hold no numbers
        plain = np.clip(deep / (257 if deep.max() > 255 else 1), 0, 255).astype(np.uint8)
        return np.repeat(plain[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        grey = Image.new("RGBA", image.size, (128, 128, 128, 255))
        image = Image.alpha_composite(grey, image.convert("RGBA"))
    colours = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(colours[:, :, ::-1])
