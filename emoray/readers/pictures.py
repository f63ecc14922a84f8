"""Pictures: picture bytes to pixels within limits, and the faces in them.

Conventions
-----------
A picture is [h, w, 3] uint8 in OpenCV's channel order (blue, green, red). ``decode_picture`` applies the EXIF
orientation, fills transparent parts with grey and takes the first frame of an animation. It reduces large
pictures, and JPEGs while they are decoded, because a face detector needs far fewer pixels than a camera
takes, and a PNG of some kilobytes may hold 50 million. Nothing is written to disk, and no error message
repeats what a picture holds.

A box is (x, y, side) in pixels: the upper left corner and the side of a square, which may lie partly outside
the picture. The detector is the Haar cascade that OpenCV 4 ships. It makes up to three passes and returns the
faces of the first pass that finds any: faces with a side of at least 1/13 of the picture's longer side, then
smaller ones down to 1/27, then faces that fill the picture, which need a border around it. Therefore small
faces behind a large one are ignored, and a tightly cropped face is found. docs/faces.md says how the passes
were chosen.
"""

from __future__ import annotations

import importlib.util
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emoray.config import Limits
from emoray.errors import FaceError

if TYPE_CHECKING:
    import PIL.Image

Picture = NDArray[np.uint8]
"""[h, w, 3] uint8, blue, green, red."""
Box = tuple[int, int, int]
"""(x, y, side) in pixels."""

PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""The formats that are decoded. Pillow's other decoders stay closed: one of them starts Ghostscript."""
REDUCED_SIDE = 1280
"""A reduced picture keeps at least this many pixels on its longer side."""
CASCADE = "haarcascade_frontalface_default.xml"
OPENCV_REMEDY = "run `pip install 'opencv-contrib-python-headless<5'`"


def decode_picture(data: bytes, limits: Limits, *, subject: object = "picture") -> Picture:
    """Decode a picture.

    Args:
        data: a file in one of ``PICTURE_FORMATS``.
        limits: larger pictures are refused.
        subject: the name in error messages, usually a path.

    Returns:
        [h, w, 3] pixels.

    Raises:
        FaceError: the picture has too many bytes or pixels, is none, or is damaged.
    """
    if len(data) > limits.picture_bytes:
        raise FaceError(subject, f"has more than {limits.picture_bytes:,} bytes; send a smaller picture")
    return _pixels(_upright(data, limits, subject))


def _upright(data: bytes, limits: Limits, subject: object) -> PIL.Image.Image:
    """The decoded picture, reduced and turned upright."""
    from PIL import Image, ImageOps

    too_large = FaceError(subject, f"has more than {limits.picture_pixels:,} pixels; send a smaller picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged EXIF or odd palettes
            with _opened(data) as image:
                pixels = image.width * image.height  # from the header: nothing is decoded yet
                if pixels > limits.picture_pixels:
                    raise too_large
                scale = REDUCED_SIDE / max(image.size)
                image.draft(None, (round(image.width * scale), round(image.height * scale)))
                image.load()
                return ImageOps.exif_transpose(_reduced(image))
    except FaceError:
        raise
    except Image.DecompressionBombError:
        raise too_large from None
    except Exception as err:  # Pillow's decoders raise errors of many types on damaged bytes
        formats = ", ".join(PICTURE_FORMATS)
        reason = f"cannot be read ({type(err).__name__}); send a whole picture in one of {formats}"
        raise FaceError(subject, reason) from err


def _opened(data: bytes) -> PIL.Image.Image:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is the lower one
        return Image.open(io.BytesIO(data), formats=PICTURE_FORMATS)


def _reduced(image: PIL.Image.Image) -> PIL.Image.Image:
    """The picture reduced by a whole factor, before it is copied."""
    factor = max(image.size) // REDUCED_SIDE
    if factor < 2:
        return image
    if image.mode in ("1", "P", "PA"):  # palette indices cannot be averaged
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


@dataclass(frozen=True, kw_only=True)
class DetectionPass:
    """One run of the detector over the picture, scaled to one size."""

    longer_side: int
    """Pixels to which the longer side of a larger picture is scaled down."""
    smallest: int
    """Side of the smallest face, in pixels of the scaled picture."""
    neighbours: int
    """Least number of overlapping detections that make a face."""
    step: float
    """Ratio between two successive face sizes."""
    border: float = 0.0
    """Border added on each side, as a share of the longer side; with one, small pictures are scaled up."""


PASSES = (
    DetectionPass(longer_side=480, smallest=36, neighbours=8, step=1.1),
    DetectionPass(longer_side=640, smallest=24, neighbours=8, step=1.1),
    DetectionPass(longer_side=192, smallest=86, neighbours=4, step=1.1, border=0.4),
)


def cascade_file() -> Path:
    """The file of the cascade, found without importing OpenCV.

    Raises:
        FaceError: OpenCV is missing or is a version that ships no cascades.
    """
    package = importlib.util.find_spec("cv2")
    if package is None or not package.submodule_search_locations:
        raise FaceError("opencv", f"is not installed; {OPENCV_REMEDY}")
    path = Path(package.submodule_search_locations[0]) / "data" / CASCADE
    if not path.is_file():
        raise FaceError(path, f"is missing, OpenCV 5 ships no cascades; {OPENCV_REMEDY}")
    return path


class FaceDetector:
    """Finds upright frontal faces. One detector serves one thread at a time."""

    def __init__(self) -> None:
        import cv2

        cv2.setNumThreads(1)  # there are many workers, and one thread finds the same boxes every time
        self._cascade = cv2.CascadeClassifier(str(cascade_file()))

    def find(self, picture: Picture) -> list[Box]:
        """The boxes of the faces in a picture, largest first; an empty list if there is no face."""
        import cv2

        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        for search in PASSES:
            if boxes := self._search(grey, search):
                return sorted(boxes, key=lambda box: (-box[2], box))
        return []

    def _search(self, grey: NDArray[Any], search: DetectionPass) -> list[Box]:
        import cv2

        height, width = grey.shape
        scale = search.longer_side / max(height, width)
        if not search.border:
            scale = min(1.0, scale)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        scaled = cv2.resize(grey, size, interpolation=how) if scale != 1 else grey
        edge = round(search.border * search.longer_side)
        if edge:
            scaled = cv2.copyMakeBorder(scaled, edge, edge, edge, edge, cv2.BORDER_REPLICATE)
        if min(scaled.shape) < search.smallest:
            return []
        found = self._cascade.detectMultiScale(
            scaled, search.step, search.neighbours, minSize=(search.smallest, search.smallest)
        )
        return [
            (round((x - edge) / scale), round((y - edge) / scale), round(side / scale))
            for x, y, side, _ in np.asarray(found).reshape(-1, 4).tolist()
        ]


def crop(picture: Picture, box: Box, margin: float) -> Picture:
    """The pixels of a box with a margin around it, a share of its side, as far as the picture goes."""
    x, y, side = box
    extra = round(margin * side)
    top, left = max(0, y - extra), max(0, x - extra)
    cut = picture[top : max(0, y + side + extra), left : max(0, x + side + extra)]
    return cut.copy()  # a copy lets the picture be freed
