import numpy as np
import pytest

from emoray.dataset.keys import agreements, key_of, majorness, parallel, pitch_classes, relative

C_MAJOR = np.array([60, 62, 64, 65, 67, 69, 71, 72, 67, 64, 60, 48])
C_MINOR = np.array([60, 62, 63, 65, 67, 68, 71, 72, 67, 63, 60, 48])


@pytest.mark.parametrize("by", range(12))
def test_a_scale_is_in_its_key_however_it_is_moved(by):
    assert key_of(pitch_classes(C_MAJOR + by)) == by
    assert key_of(pitch_classes(C_MINOR + by)) == 12 + by


def test_agreements_are_correlations():
    profile = pitch_classes(C_MAJOR)
    template = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
    assert agreements(profile)[0] == pytest.approx(np.corrcoef(profile, template)[0, 1])
    assert not agreements(pitch_classes(np.empty(0, int))).any()


def test_major_music_is_majorer_than_minor_music():
    assert majorness(pitch_classes(C_MAJOR)) > 0.05
    assert majorness(pitch_classes(C_MINOR)) < -0.05


@pytest.mark.parametrize("key", range(24))
def test_relatives_and_parallels_come_back(key):
    assert relative(relative(key)) == key
    assert parallel(parallel(key)) == key
    assert {key // 12, relative(key) // 12, parallel(key) // 12} == {0, 1}
