"""Face detector: pixels to boxes, by the Haar cascade that ships inside OpenCV 4.

Conventions
-----------
A box is (x, y, side): the upper left corner and the side of a square, in pixels of the picture given; it may
lie partly outside. Three passes, and the first that finds a face is the answer: faces of a thirteenth of the
longer side or more; smaller ones, down to a 27th; faces that fill the picture, once it has a border to stand
out from. So small faces behind a large one do not count, and a tight crop is no "no face".

The passes were chosen on 41 pictures with a face and 89 without: see docs/faces.md.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoray.errors import FaceError
from emoray.readers.pictures import Picture

Box = tuple[int, int, int]
CASCADE = "haarcascade_frontalface_default.xml"
REMEDY = "run `pip install 'opencv-contrib-python-headless<5'`"


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One search over the picture at one size."""

    longer_side: int
    """Pixels; a larger picture is scaled down to it."""
    smallest: int
    """Side of the smallest face, in the scaled picture's pixels."""
    neighbours: int
    """How many overlapping finds make a face."""
    step: float
    """From one size of face to the next."""
    border: float = 0.0
    """Added on each side, as a share of the longer side; the picture is then scaled up as well."""


PASSES = (
    Pass(longer_side=480, smallest=36, neighbours=8, step=1.1),
    Pass(longer_side=640, smallest=24, neighbours=8, step=1.1),
    Pass(longer_side=192, smallest=86, neighbours=4, step=1.1, border=0.4),
)


def cascade_file() -> Path:
    """Where OpenCV keeps the cascade, found without importing OpenCV.

    Raises:
        FaceError: OpenCV is missing or is a version that ships no cascades.
    """
    package = importlib.util.find_spec("cv2")
    if package is None or not package.submodule_search_locations:
        raise FaceError("opencv", f"is not installed; {REMEDY}")
    path = Path(package.submodule_search_locations[0]) / "data" / CASCADE
    if not path.is_file():
        raise FaceError(path, f"is missing, OpenCV 5 ships no cascades; {REMEDY}")
    return path


class FaceDetector:
    """Finds upright faces seen from the front. Not for several threads at once."""

    def __init__(self) -> None:
        import cv2

        cv2.setNumThreads(1)  # workers are many already, and one thread finds the same boxes every time
        self._cascade = cv2.CascadeClassifier(str(cascade_file()))

    def find(self, picture: Picture) -> list[Box]:
        """[h, w, 3] to boxes, the largest first; empty without a face."""
        import cv2

        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        for search in PASSES:
            if boxes := self._search(grey, search):
                return sorted(boxes, key=lambda box: (-box[2], box))
        return []

    def _search(self, grey: NDArray[Any], search: Pass) -> list[Box]:
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
    """The box and ``margin`` of its side around it, as far as the picture goes."""
    x, y, side = box
    extra = round(margin * side)
    top, left = max(0, y - extra), max(0, x - extra)
    cut = picture[top : max(0, y + side + extra), left : max(0, x + side + extra)]
    return cut.copy()  # so that the picture can go while others are read
