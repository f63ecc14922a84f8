import numpy as np
import pytest
from emoray.compose.targets import FURTHEST, fitted_map, key_for, key_profile, target

from emoray.dataset.attributes import GROUPS, N_ATTRIBUTES
from emoray.dataset.keys import key_of, pitch_classes

C_MAJOR = pitch_classes(np.array([60, 62, 64, 65, 67, 69, 71, 72, 67, 64, 60, 48]))
A_MINOR = pitch_classes(np.array([57, 59, 60, 62, 64, 65, 68, 69, 64, 60, 57, 45]))


def own(profile):
    attributes = np.zeros(N_ATTRIBUTES, np.float32)
    attributes[:12] = 12 * profile - 1
    return attributes


def test_happy_keeps_a_major_key_or_goes_to_the_relative_major():
    assert key_for(C_MAJOR, 1.0) == 0
    assert key_for(A_MINOR, 1.0) == 0


def test_sad_keeps_a_minor_key_or_goes_to_the_parallel_minor():
    assert key_for(C_MAJOR, -1.0) == 12
    assert key_for(A_MINOR, -1.0) == 12 + 9


def test_no_valence_keeps_the_key_and_no_emotion_keeps_everything():
    assert key_for(C_MAJOR, 0.0) == 0
    np.testing.assert_allclose(target(own(C_MAJOR), 0.0, 0.0, fitted_map()), own(C_MAJOR), atol=1e-6)


def test_a_target_profile_is_in_its_key_and_as_various_as_what_pianists_play():
    for key in range(24):
        profile = key_profile(key, fitted_map())
        assert key_of(profile) == key
        assert profile.sum() == pytest.approx(1)
        assert -(profile * np.log2(profile)).sum() > 2.7  # bits; half of MAESTRO's 64-note windows have 2.86


def test_arousal_makes_it_denser_shorter_and_louder_and_leaves_the_key():
    calm, excited = (target(own(C_MAJOR), 0.0, arousal, fitted_map()) for arousal in (-1.0, 1.0))
    change = {name: float((excited - calm)[part].mean()) for name, part in GROUPS.items()}
    assert change["density"] > 1
    assert change["duration"] < -0.5
    assert change["velocity"] > 0.5
    np.testing.assert_allclose(excited[:12], calm[:12])


def test_valence_lifts_the_register():
    low, high = (target(own(C_MAJOR), valence, 0.0, fitted_map())[GROUPS["register"]] for valence in (-1, 1))
    assert high - low == pytest.approx(2 * fitted_map().register)


def test_targets_stay_where_the_network_has_been():
    extreme = own(C_MAJOR)
    extreme[12:] = (4, -4, 4, 4)
    assert np.abs(target(extreme, 1.0, 1.0, fitted_map())[12:]).max() <= FURTHEST


def test_half_a_valence_goes_half_the_way():
    start, half, whole = (target(own(C_MAJOR), valence, 0.0, fitted_map()) for valence in (0.0, -0.5, -1.0))
    np.testing.assert_allclose(half - start, (whole - start) / 2, atol=1e-5)
