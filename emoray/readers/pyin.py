"""pYIN: the fundamental frequency of a voice in each frame. Pure arithmetic, no decoding.

Conventions
-----------
The algorithm is Mauch and Dixon, "pYIN: A fundamental frequency estimator using probabilistic threshold
distributions", 2014, which extends YIN of de Cheveigne and Kawahara, 2002. ``librosa_pyin`` runs librosa's
implementation with the same settings; ``pyin`` returns the same pitch in every frame in a tenth of the time
(``benchmarks/voices.py``). Its Viterbi search considers only transitions that a voice can make, where
librosa considers all pairs of pitches; it weighs the troughs of many frames at once, and it compiles nothing.

Pitches lie in bins of a fifth of a semitone, and each bin has a voiced and an unvoiced state. Letters: **t**
frames, **p** periods from the shortest on, **m** troughs of all frames, **n** bins, **w** bins within reach.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from emoray.notes import Floats
from emoray.readers.melody import FRAME, HIGHEST_PITCH, LOWEST_PITCH, Flags

Samples = NDArray[np.float32]

SAMPLE_RATE = 16_000
HOP_SAMPLES = round(SAMPLE_RATE * FRAME)
WINDOW_SAMPLES = 1024
"""Samples of a frame: 64 ms, four periods of the lowest pitch."""
LOWEST_HERTZ, HIGHEST_HERTZ = (440 * 2 ** ((key - 69) / 12) for key in (LOWEST_PITCH, HIGHEST_PITCH))
SHORTEST_PERIOD, LONGEST_PERIOD = int(SAMPLE_RATE / HIGHEST_HERTZ), math.ceil(SAMPLE_RATE / LOWEST_HERTZ)
FFT_SIZE = fft.next_fast_len(WINDOW_SAMPLES + LONGEST_PERIOD, real=True)
FRAMES_PER_BLOCK = 250
"""Frames whose troughs are weighed together; 250 frames of noise have some 15,000 troughs."""

BINS_PER_SEMITONE = 5
"""Ten bins, the usual number, give the same notes."""
BINS = (HIGHEST_PITCH - LOWEST_PITCH) * BINS_PER_SEMITONE + 1
THRESHOLDS = np.linspace(0, 1, 101)
"""The thresholds that pYIN averages over: a period counts if its trough lies below the threshold."""
THRESHOLD_WEIGHTS = np.diff(1 - (1 - THRESHOLDS) ** 18 * (1 + 18 * THRESHOLDS))
"""Probability of each threshold: a beta distribution with parameters 2 and 18, as in librosa."""
DECAY = 2.0
"""Of the troughs below a threshold, each has exp(-2) times the probability of the next shorter period."""
NO_TROUGH = 0.01
"""Probability of the deepest trough for a threshold that no trough lies below."""
MAX_OCTAVES_PER_SECOND = 35.92
"""The fastest change of pitch."""
REACH = round(MAX_OCTAVES_PER_SECOND * 12 * FRAME) * BINS_PER_SEMITONE // 2
"""The largest change from one frame to the next, in bins."""
SWITCH_PROBABILITY = 0.01
"""Probability of a change between voiced and unvoiced from one frame to the next."""
TINY = np.finfo(np.float64).tiny
"""Added to probabilities before their logarithm."""


def pyin(samples: Samples) -> tuple[Floats, Flags]:
    """Track the pitch of one voice.

    Args:
        samples: [samples] one channel at ``SAMPLE_RATE``.

    Returns:
        ([t] pitch as fractional MIDI numbers, a guess in unvoiced frames; [t] True in voiced frames). Frame t
        is centred on sample t times ``HOP_SAMPLES``.

    >>> tone = np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    >>> pitch, voiced = pyin(tone)
    >>> float(np.median(pitch[voiced]))
    69.0
    """
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(samples, WINDOW_SAMPLES // 2), WINDOW_SAMPLES)[
        ::HOP_SAMPLES
    ]
    some = (windows[first : first + FRAMES_PER_BLOCK] for first in range(0, len(windows), FRAMES_PER_BLOCK))
    state = viterbi(np.concatenate([observation_probabilities(yin_difference(few)) for few in some]))
    return LOWEST_PITCH + state % BINS / BINS_PER_SEMITONE, state < BINS


def librosa_pyin(samples: Samples) -> tuple[Floats, Flags]:
    """Track the pitch of one voice with librosa: the reference implementation, and the same result."""
    import librosa  # slow to import, and only the reference needs it

    hertz, voiced, _ = librosa.pyin(
        samples,
        sr=SAMPLE_RATE,
        fmin=LOWEST_HERTZ,
        fmax=HIGHEST_HERTZ,
        frame_length=WINDOW_SAMPLES,
        hop_length=HOP_SAMPLES,
        resolution=1 / BINS_PER_SEMITONE,
        fill_na=None,
    )
    return np.asarray(librosa.hz_to_midi(hertz), np.float64), voiced


def yin_difference(windows: Samples) -> Floats:
    """[t, p] YIN's cumulative mean normalised difference of [t, WINDOW_SAMPLES]: near 0 at a period."""
    spectrum = fft.rfft(windows, FFT_SIZE)
    alike = fft.irfft(spectrum.real**2 + spectrum.imag**2, FFT_SIZE)[:, : LONGEST_PERIOD + 1]
    energy = np.cumsum(np.square(windows[:, :LONGEST_PERIOD]), axis=1)
    unlike = 2 * (alike[:, :1] - alike[:, 1:]) - energy
    mean = np.cumsum(unlike, axis=1) / np.arange(1, LONGEST_PERIOD + 1)
    periods = slice(SHORTEST_PERIOD - 1, None)
    normalised: Floats = unlike[:, periods] / (mean[:, periods] + TINY)
    return normalised


def observation_probabilities(yin: Floats) -> Floats:
    """[t, 2 n] probability of each frame's observation [t, p] in each voiced, then each unvoiced bin."""
    lowest = np.ones(yin.shape, bool)
    lowest[:, 1:] &= yin[:, 1:] < yin[:, :-1]
    lowest[:, :-1] &= yin[:, :-1] <= yin[:, 1:]
    lowest[:, 0] &= yin[:, 0] < yin[:, 1]
    frame, period = np.nonzero(lowest)
    seen = np.zeros((len(yin), 2 * BINS))
    if len(frame):
        chance = trough_probabilities(yin[frame, period], frame)
        hertz = SAMPLE_RATE / (SHORTEST_PERIOD + period + refinement(yin, frame, period))
        bins = np.rint(12 * BINS_PER_SEMITONE * np.log2(hertz / LOWEST_HERTZ)).astype(int).clip(0, BINS)
        likely = chance > 0
        seen[frame[likely], bins[likely]] = chance[
            likely
        ]  # of two troughs in a bin the longer period counts; bin BINS is dropped
    voiced = seen[:, :BINS].sum(axis=1, keepdims=True).clip(0, 1)
    seen[:, BINS:] = (1 - voiced) / BINS
    return seen


def trough_probabilities(height: Floats, frame: NDArray[np.int64]) -> Floats:
    """[m] probability that each trough is its frame's period, from its height; troughs in order of frame."""
    first = np.flatnonzero(np.diff(frame, prepend=-1))
    own = np.repeat(np.arange(len(first)), np.diff(first, append=len(frame)))
    under = height[:, None] < THRESHOLDS[1:]
    count = np.add.reduceat(under, first, dtype=np.int64)
    so_far = np.cumsum(under, axis=0)
    rank = so_far - 1 - (so_far[first] - under[first])[own]
    falling = np.exp(-DECAY * np.arange(count.max() + 1))
    share = THRESHOLD_WEIGHTS * (1 - np.exp(-DECAY)) / (1 - np.exp(-DECAY * np.maximum(count, 1)))
    chance: Floats = (np.where(under, falling[rank], 0) * share[own]).sum(axis=1)
    deepest = np.lexsort((height, frame))[first]
    chance[deepest] += NO_TROUGH * (THRESHOLD_WEIGHTS * ~under[deepest]).sum(axis=1)
    return chance


def refinement(yin: Floats, frame: NDArray[np.int64], period: NDArray[np.int64]) -> Floats:
    """[m] samples from each trough to the vertex of the parabola through it and its neighbours."""
    inside = (period > 0) & (period < yin.shape[1] - 1)
    middle = np.where(inside, period, 1)
    before, after = yin[frame, middle - 1], yin[frame, middle + 1]
    slope, curve = (after - before) / 2, after + before - 2 * yin[frame, middle]
    pointed = inside & (np.abs(slope) < np.abs(curve))
    return np.where(pointed, -slope / np.where(pointed, curve, 1), 0)


def viterbi(seen: Floats) -> NDArray[np.int64]:
    """[t] the most probable sequence of bins, unvoiced from ``BINS`` on, given probabilities [t, 2 n]."""
    within, far = transitions()
    seen = np.log(seen + TINY).reshape(-1, 2, BINS)
    padded = np.full((len(seen), 2, BINS + 2 * REACH), -np.inf)
    values = padded[:, :, REACH : REACH + BINS]
    origins = np.lib.stride_tricks.sliding_window_view(padded, BINS, axis=2)  # [t, from, w, n]
    ways, best = np.empty(within.shape), np.empty((2, BINS))
    values[0] = seen[0] + np.log(1 / (2 * BINS))
    for t in range(1, len(seen)):
        np.add(origins[t - 1, :, :, None], within, out=ways)
        ways.max(axis=(0, 1), out=best)
        np.maximum(best, values[t - 1].max() + far, out=best)
        np.add(seen[t], best, out=values[t])
    state = np.empty(len(seen), np.int64)
    state[-1] = values[-1].argmax()
    for t in reversed(range(len(seen) - 1)):
        to, bin_ = divmod(int(state[t + 1]), BINS)
        near = origins[t, :, :, bin_] + within[:, :, to, bin_]
        origin, way = divmod(int(near.argmax()), near.shape[1])
        is_near = near[origin, way] >= values[t].max() + far
        state[t] = origin * BINS + bin_ + way - REACH if is_near else values[t].argmax()
    return state


@cache
def transitions() -> tuple[Floats, float]:
    """Log probabilities of the transitions [from, w, to, n] to bin n, by voicing, and of one out of reach."""
    moves = np.arange(-REACH, REACH + 1)
    weight = REACH + 1.0 - np.abs(moves)
    total = np.convolve(np.ones(BINS), weight, mode="same")  # fewer transitions leave the ends of the range
    origin = np.arange(BINS) + moves[:, None]
    there = (origin >= 0) & (origin < BINS)
    chance = np.where(there, weight[:, None] / total[origin.clip(0, BINS - 1)], 0)
    switch = np.array(
        [[1 - SWITCH_PROBABILITY, SWITCH_PROBABILITY], [SWITCH_PROBABILITY, 1 - SWITCH_PROBABILITY]]
    )
    within = np.log(switch[:, None, :, None] * chance[:, None] + TINY)
    return np.where(there[:, None], within, -np.inf), float(np.log(TINY))
