from __future__ import annotations

import cv2
import numpy as np
import pytest

from emoray.config import Limits
from emoray.errors import FaceError
from emoray.readers import pictures
from emoray.readers.pictures import FaceDetector, crop, decode_picture

FACE = (163, 111, 205)
"""Of Grace Hopper in her portrait of 512 by 600 pixels, by eye: x, y, side."""


@pytest.fixture(scope="module")
def picture(portrait):
    return decode_picture(portrait, Limits())


def assert_near(box, expected):
    x, y, side = expected
    assert np.abs(np.subtract(box[:2], (x, y))).max() < side / 6
    assert box[2] == pytest.approx(side, rel=0.2)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_a_face_is_found_where_it_is_at_any_size_of_the_picture(picture, scale):
    (box,) = FaceDetector().find(cv2.resize(picture, None, fx=scale, fy=scale))
    assert_near(np.divide(box, scale), FACE)


def test_a_small_face_in_a_large_picture_is_found(picture):
    wide = np.full((1200, 1600, 3), 120, np.uint8)
    wide[700:1000, 1300:1556] = cv2.resize(picture, (256, 300), interpolation=cv2.INTER_AREA)
    (box,) = FaceDetector().find(wide)
    assert_near(box, (1300 + FACE[0] / 2, 700 + FACE[1] / 2, FACE[2] / 2))


def test_a_crop_of_48_pixels_with_nothing_around_the_face_is_found(picture):
    x, y, side = FACE
    tight = cv2.resize(picture[y : y + side, x : x + side], (48, 48), interpolation=cv2.INTER_AREA)
    (box,) = FaceDetector().find(tight)
    assert_near(box, (0, 0, 48))


def test_a_small_face_behind_a_large_one_does_not_count(picture):
    both = np.full((1200, 1600, 3), 120, np.uint8)
    both[:900, :768] = cv2.resize(picture, (768, 900))
    both[700:1000, 1300:1556] = cv2.resize(picture, (256, 300), interpolation=cv2.INTER_AREA)
    assert len(FaceDetector().find(both)) == 1


def test_faces_come_largest_first(picture):
    both = np.full((700, 1100, 3), 120, np.uint8)
    both[50:350, 50:306] = cv2.resize(picture, (256, 300), interpolation=cv2.INTER_AREA)
    both[50:650, 550:1062] = picture
    large, small = FaceDetector().find(both)
    assert large[2] > 1.6 * small[2]
    assert large[0] > 550 > small[0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9000), (9000, 1), (23, 23), (48, 48), (300, 400)])
def test_noise_gradients_and_slivers_hold_no_face(shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    ramp = np.linspace(0, 255, noise.size).reshape(noise.shape).astype(np.uint8)
    for picture in (noise, ramp, np.zeros_like(noise)):
        assert FaceDetector().find(picture) == []


def test_a_drawn_smiley_is_no_face():
    smiley = np.full((300, 300, 3), 255, np.uint8)
    cv2.circle(smiley, (150, 150), 100, (0, 220, 255), -1)
    cv2.circle(smiley, (115, 120), 12, (0, 0, 0), -1)
    cv2.circle(smiley, (185, 120), 12, (0, 0, 0), -1)
    cv2.ellipse(smiley, (150, 160), (55, 45), 0, 10, 170, (0, 0, 0), 6)
    assert FaceDetector().find(smiley) == []


def test_a_crop_keeps_its_margin_and_stays_inside():
    picture = np.arange(100 * 100 * 3).reshape(100, 100, 3).astype(np.uint8)
    np.testing.assert_array_equal(crop(picture, (20, 30, 40), 0.1), picture[26:74, 16:64])
    np.testing.assert_array_equal(crop(picture, (-5, 80, 40), 0.0), picture[80:, :35])


def test_an_opencv_without_cascades_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(pictures, "CASCADE", "gone.xml")
    with pytest.raises(FaceError, match=r"gone.xml: is missing.*pip install 'opencv-contrib"):
        FaceDetector()
