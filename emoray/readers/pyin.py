"""Pitch: the fundamental frequency of a voice, frame by frame, by pYIN. Pure arithmetic, no decoding.

Conventions
-----------
pYIN is Mauch and Dixon, "pYIN: A fundamental frequency estimator using probabilistic threshold
distributions", 2014, over YIN of de Cheveigne and Kawahara, 2002. It finds what ``librosa.pyin`` finds with
these settings, in every frame, in a tenth of the time: there each pitch is weighed against all others from
frame to frame, here against those that a voice can reach, and the troughs of many frames are weighed at once.
Nor does it compile anything before the first recording.

Pitches lie in bins of a fifth of a semitone, each bin voiced or unvoiced. Letters: **t** frames, **p**
periods from the shortest on, **m** troughs of all frames, **n** bins, **w** bins within reach.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from emoray.notes import Floats
from emoray.readers.melody import FRAME, HIGHEST, LOWEST, Flags

Samples = NDArray[np.float32]

RATE = 16_000
HOP = round(RATE * FRAME)
WINDOW = 1024
"""Samples in which a period is looked for: 64 ms, four periods of the lowest note."""
LOWEST_HERTZ, HIGHEST_HERTZ = (440 * 2 ** ((key - 69) / 12) for key in (LOWEST, HIGHEST))
SHORTEST_PERIOD, LONGEST_PERIOD = int(RATE / HIGHEST_HERTZ), math.ceil(RATE / LOWEST_HERTZ)
FFT_SIZE = fft.next_fast_len(WINDOW + LONGEST_PERIOD, real=True)
AT_ONCE = 250
"""Frames whose troughs are weighed at once: of noise, some 15,000."""

PER_SEMITONE = 5
"""Bins. Ten, as is usual, gain nothing here."""
BINS = (HIGHEST - LOWEST) * PER_SEMITONE + 1
THRESHOLDS = np.linspace(0, 1, 101)
"""Under which a trough may have to lie."""
WEIGHTS = np.diff(1 - (1 - THRESHOLDS) ** 18 * (1 + 18 * THRESHOLDS))
"""Of the thresholds: a beta distribution with parameters 2 and 18. This and what follows as in librosa."""
DECAY = 2.0
"""Of the chances of the troughs under a threshold: each is exp(-2) times that of the next shorter period."""
NO_TROUGH = 0.01
"""Chance of the deepest trough for each threshold that none lies under."""
OCTAVES_A_SECOND = 35.92
"""That a voice moves at most."""
REACH = round(OCTAVES_A_SECOND * 12 * FRAME) * PER_SEMITONE // 2
"""Bins, up or down, from one frame to the next."""
SWITCH = 0.01
"""Chance to begin or to cease to sing, in each frame."""
TINY = np.finfo(np.float64).tiny
"""What a chance of 0 is taken for."""


def follow(samples: Samples) -> tuple[Floats, Flags]:
    """Follow a voice.

    Args:
        samples: [samples] one channel at ``RATE``.

    Returns:
        ([t] pitch as fractional MIDI numbers, a guess where nobody sings; [t] True where somebody does).
        In the middle of a frame's window is sample t times ``HOP``.
    """
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(samples, WINDOW // 2), WINDOW)[::HOP]
    some = (windows[first : first + AT_ONCE] for first in range(0, len(windows), AT_ONCE))
    state = likeliest(np.concatenate([observed(difference(few)) for few in some]))
    return LOWEST + state % BINS / PER_SEMITONE, state < BINS


def difference(windows: Samples) -> Floats:
    """[t, p] YIN's cumulative mean normalised difference of [t, WINDOW]: near 0 at a period."""
    spectrum = fft.rfft(windows, FFT_SIZE)
    alike = fft.irfft(spectrum.real**2 + spectrum.imag**2, FFT_SIZE)[:, : LONGEST_PERIOD + 1]
    energy = np.cumsum(np.square(windows[:, :LONGEST_PERIOD]), axis=1)
    unlike = 2 * (alike[:, :1] - alike[:, 1:]) - energy
    mean = np.cumsum(unlike, axis=1) / np.arange(1, LONGEST_PERIOD + 1)
    heard = slice(SHORTEST_PERIOD - 1, None)
    normalised: Floats = unlike[:, heard] / (mean[:, heard] + TINY)
    return normalised


def observed(yin: Floats) -> Floats:
    """[t, 2 n] chance of what is heard in each frame of [t, p] in each voiced, then each unvoiced bin."""
    lowest = np.ones(yin.shape, bool)
    lowest[:, 1:] &= yin[:, 1:] < yin[:, :-1]
    lowest[:, :-1] &= yin[:, :-1] <= yin[:, 1:]
    lowest[:, 0] &= yin[:, 0] < yin[:, 1]
    frame, period = np.nonzero(lowest)
    seen = np.zeros((len(yin), 2 * BINS))
    if len(frame):
        chance = trough_chances(yin[frame, period], frame)
        hertz = RATE / (SHORTEST_PERIOD + period + refinement(yin, frame, period))
        bins = np.rint(12 * PER_SEMITONE * np.log2(hertz / LOWEST_HERTZ)).astype(int).clip(0, BINS)
        likely = chance > 0
        seen[frame[likely], bins[likely]] = chance[likely]  # of two in a bin the longer period; BINS is lost
    voiced = seen[:, :BINS].sum(axis=1, keepdims=True).clip(0, 1)
    seen[:, BINS:] = (1 - voiced) / BINS
    return seen


def trough_chances(height: Floats, frame: NDArray[np.int64]) -> Floats:
    """[m] how likely each trough is the period of its frame, from its height; troughs in order."""
    first = np.flatnonzero(np.diff(frame, prepend=-1))
    own = np.repeat(np.arange(len(first)), np.diff(first, append=len(frame)))
    under = height[:, None] < THRESHOLDS[1:]
    count = np.add.reduceat(under, first, dtype=np.int64)
    so_far = np.cumsum(under, axis=0)
    rank = so_far - 1 - (so_far[first] - under[first])[own]
    falling = np.exp(-DECAY * np.arange(count.max() + 1))
    share = WEIGHTS * (1 - np.exp(-DECAY)) / (1 - np.exp(-DECAY * np.maximum(count, 1)))
    chance: Floats = (np.where(under, falling[rank], 0) * share[own]).sum(axis=1)
    deepest = np.lexsort((height, frame))[first]
    chance[deepest] += NO_TROUGH * (WEIGHTS * ~under[deepest]).sum(axis=1)
    return chance


def refinement(yin: Floats, frame: NDArray[np.int64], period: NDArray[np.int64]) -> Floats:
    """[m] samples from each trough to the lowest point of the parabola through it and its neighbours."""
    inside = (period > 0) & (period < yin.shape[1] - 1)
    middle = np.where(inside, period, 1)
    before, after = yin[frame, middle - 1], yin[frame, middle + 1]
    slope, curve = (after - before) / 2, after + before - 2 * yin[frame, middle]
    pointed = inside & (np.abs(slope) < np.abs(curve))
    return np.where(pointed, -slope / np.where(pointed, curve, 1), 0)


def likeliest(seen: Floats) -> NDArray[np.int64]:
    """[t] the likeliest sequence of bins, unvoiced from ``BINS`` on, given chances [t, 2 n] (Viterbi)."""
    within, far = reach()
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
def reach() -> tuple[Floats, float]:
    """Logarithms of the chances to come [from, w, to, n] to bin n, by voicing, and to one out of reach."""
    moves = np.arange(-REACH, REACH + 1)
    weight = REACH + 1.0 - np.abs(moves)
    total = np.convolve(np.ones(BINS), weight, mode="same")  # fewer moves lead from the ends of the range
    origin = np.arange(BINS) + moves[:, None]
    there = (origin >= 0) & (origin < BINS)
    chance = np.where(there, weight[:, None] / total[origin.clip(0, BINS - 1)], 0)
    switch = np.array([[1 - SWITCH, SWITCH], [SWITCH, 1 - SWITCH]])
    within = np.log(switch[:, None, :, None] * chance[:, None] + TINY)
    return np.where(there[:, None], within, -np.inf), float(np.log(TINY))
