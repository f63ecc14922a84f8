"""The track of a voice is librosa's pYIN, frame by frame; its steps are what the papers say."""

import tracemalloc

import librosa
import numpy as np
import pytest
from scipy import stats

from emoray.readers import pyin
from emoray.readers.pyin import BINS, SAMPLE_RATE, refinement, trough_probabilities, viterbi, yin_difference


def hum(keys, seconds=0.4):
    """[samples] a trembling voice with harmonics, some breath between its notes."""
    time = np.arange(int(SAMPLE_RATE * seconds * len(keys))) / SAMPLE_RATE
    key = np.array(keys, float)[(time / seconds).astype(int)] + 0.3 * np.sin(2 * np.pi * 5.5 * time)
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((key - 69) / 12)) / SAMPLE_RATE
    sound = sum(np.sin(k * phase) / k for k in range(1, 6)) * (time % seconds < 0.8 * seconds)
    return (0.2 * sound + np.random.default_rng(0).normal(size=len(time)) * 1e-3).astype(np.float32)


def noise(seconds, loud):
    return (np.random.default_rng(1).normal(size=int(SAMPLE_RATE * seconds)) * loud).astype(np.float32)


SOUNDS = {
    "a melody": hum([48, 60, 72, 64.5, 59]),
    "the ends of the range": hum([36, 37, 95, 96]),
    "beyond it": hum([30, 99]),
    "noise": noise(3, 0.1),
    "hardly anything": noise(1, 1e-20),
    "clicks": (noise(2, 1) > 3).astype(np.float32),
    "a square": np.sign(np.sin(2 * np.pi * 100 * np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE)).astype(
        np.float32
    ),
    "silence": np.zeros(SAMPLE_RATE, np.float32),
    "five samples": np.ones(5, np.float32),
}


@pytest.mark.parametrize("samples", SOUNDS.values(), ids=SOUNDS)
def test_every_frame_has_the_pitch_and_the_voice_that_librosa_finds(samples):
    reference, voiced = pyin.librosa_pyin(samples)
    found, sung = pyin.pyin(samples)
    np.testing.assert_array_equal(sung, voiced)
    np.testing.assert_allclose(found, reference, atol=1e-9)


def test_the_difference_is_small_at_a_period_and_large_at_half_of_one():
    wave = np.sin(2 * np.pi * np.arange(pyin.WINDOW_SAMPLES) / 100).astype(np.float32)
    yin = yin_difference(wave[None])[0]
    assert yin.argmin() in {100 - pyin.SHORTEST_PERIOD, 200 - pyin.SHORTEST_PERIOD}
    assert yin[100 - pyin.SHORTEST_PERIOD] < 0.1 < 1 < yin[50 - pyin.SHORTEST_PERIOD]


def test_thresholds_weigh_as_a_beta_distribution():
    np.testing.assert_allclose(
        pyin.THRESHOLD_WEIGHTS, np.diff(stats.beta.cdf(np.linspace(0, 1, 101), 2, 18)), atol=1e-15
    )


def test_of_two_troughs_under_a_threshold_the_shorter_period_is_likelier():
    """Under .5 and over lie both, under .3 only the second, under nothing below: as the paper adds up."""
    below = stats.beta.cdf([0.3, 0.5], 2, 18)
    first, second = trough_probabilities(np.array([0.5, 0.3]), np.array([0, 0]))
    both = 1 - below[1]
    share = 1 / (1 + np.exp(-2))
    assert first == pytest.approx(both * share)
    assert second == pytest.approx(both * (1 - share) + (below[1] - below[0]) + 0.01 * below[0])


def test_a_frame_s_troughs_are_weighed_without_its_neighbours():
    generator = np.random.default_rng(0)
    frame = np.sort(generator.integers(0, 20, 100))
    height = generator.random(100)
    together = trough_probabilities(height, frame)
    alone = [trough_probabilities(height[frame == each], frame[frame == each]) for each in np.unique(frame)]
    np.testing.assert_allclose(together, np.concatenate(alone))


def test_a_trough_between_two_samples_is_found_between_them():
    at = np.arange(10.0)
    yin = ((at - 4.3) ** 2)[None]
    assert refinement(yin, np.array([0]), np.array([4])) == pytest.approx(0.3)
    assert refinement(yin, np.array([0, 0]), np.array([0, 9])).tolist() == [0, 0]


def test_the_viterbi_bins_are_those_of_a_search_of_all_ways():
    """Among chances of 0 and 1, where a voice must leap further than it can, too."""
    generator = np.random.default_rng(0)
    seen = generator.random((60, 2 * BINS)) * (generator.random((60, 2 * BINS)) > 0.99)
    seen[20:40:5] = 0
    seen[20:40:5, generator.integers(0, BINS, 4)] = 1
    moves = librosa.sequence.transition_local(BINS, 2 * pyin.REACH + 1, window="triangle", wrap=False)
    every = np.kron(librosa.sequence.transition_loop(2, 1 - pyin.SWITCH_PROBABILITY), moves)
    np.testing.assert_array_equal(viterbi(seen), librosa.sequence.viterbi(seen.T, every))


def test_noise_has_many_troughs_and_takes_no_memory_to_speak_of():
    samples = noise(30, 0.1)
    pyin.pyin(samples[:SAMPLE_RATE])
    tracemalloc.start()
    pyin.pyin(samples)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100e6
