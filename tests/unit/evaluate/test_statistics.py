import numpy as np
import pytest
from scipy.stats import norm

from emoray.evaluate.judges import sounding_seconds
from emoray.evaluate.statistics import artefacts_of, compare_with_real, overlapped_area, statistics_of
from emoray.notes import as_notes


def piece(count=120, random_seed=0, pitches=range(50, 80)):
    generator = np.random.default_rng(random_seed)
    onset = np.cumsum(generator.exponential(0.15, count))
    pitch = generator.choice(list(pitches), count)
    return as_notes(onset, generator.exponential(0.3, count) + 0.03, pitch, [80] * count)


def test_statistics_of_a_scale_by_hand():
    """Eight notes of C major, one each half second, each a quarter second long."""
    notes = as_notes(np.arange(8) * 0.5, [0.25] * 8, [60, 62, 64, 65, 67, 69, 71, 72], [64] * 8)
    found = statistics_of(notes)
    share = np.array([2, 1, 1, 1, 1, 1, 1]) / 8
    assert found["pitch_class_entropy"] == pytest.approx(-(share * np.log2(share)).sum())
    assert found["scale_consistency"] == 1.0
    assert (found["range"], found["distinct_pitches"], found["longest_run"]) == (12, 8, 1)
    assert found["note_rate"] == pytest.approx(8 / 3.5)
    assert found["polyphony"] == pytest.approx(1.0)
    assert (found["median_step"], found["median_duration"]) == (0.5, 0.25)


def test_sounding_seconds_count_overlaps_once_and_silence_never():
    notes = as_notes([0.0, 0.5, 3.0], [1.0, 2.0, 0.5], [60, 64, 67], [80] * 3)
    assert sounding_seconds(notes) == pytest.approx(2.5 + 0.5)


def test_artefacts_are_counted():
    notes = as_notes([0.0, 1.0, 8.0, 8.5], [0.015, 0.5, 0.5, 0.5], [60, 20, 64, 109], [80] * 4)
    assert artefacts_of(notes) == {"short_notes": 0.25, "off_keyboard": 0.5, "long_silences": 1.0}


def test_the_overlap_of_one_set_with_itself_is_nearly_whole_and_with_another_world_nearly_none():
    generator = np.random.default_rng(0)
    one, alike, far = (generator.normal(mean, 1, (150, 1)) for mean in (0, 0, 40))
    assert overlapped_area(one, alike, one) > 0.9
    assert overlapped_area(one, far, one) < 0.05


def test_the_overlap_of_two_known_densities_is_what_calculus_says():
    """Distances within N(0, 1) are half-normal with scale sqrt 2; those to N(2, 1) are folded about 2."""
    generator = np.random.default_rng(1)
    one, other = generator.normal(0, 1, (600, 1)), generator.normal(2, 1, (600, 1))
    x = np.linspace(0, 12, 4000)
    within = 2 * norm.pdf(x, 0, 2**0.5)
    between = norm.pdf(x, 2, 2**0.5) + norm.pdf(x, -2, 2**0.5)
    expected = np.trapezoid(np.minimum(within, between), x)
    assert overlapped_area(one, other, one) == pytest.approx(expected, abs=0.06)


def test_real_music_compared_with_itself_reaches_the_ceiling_and_a_drone_does_not():
    real = [piece(random_seed=seed) for seed in range(40)]
    alike = compare_with_real([piece(random_seed=seed) for seed in range(100, 140)], real)
    drone = compare_with_real([piece(random_seed=seed, pitches=(60, 64)) for seed in range(40)], real)
    assert alike["mean"]["overlap_ratio"] > 0.9 > drone["mean"]["overlap_ratio"]
    assert drone["distinct_pitches"]["composed_median"] == 2
    assert drone["distinct_pitches"]["overlap"] < 0.1 < alike["distinct_pitches"]["overlap"]
