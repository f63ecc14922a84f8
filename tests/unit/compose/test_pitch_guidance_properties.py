"""Guidance, steering and sampling on any logits: finite, within their budgets, each row by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoray.compose.conditions import FURTHEST, achieved, steered
from emoray.compose.original_formulas import OFF_KEYBOARD, on_keyboard
from emoray.compose.pitch_guidance import (
    BUDGET,
    GuidanceInputs,
    guided,
    kl_divergence,
    log_probabilities,
    moved_by,
)
from emoray.compose.sampling import probabilities, sample
from emoray.config import CONDITIONED_MODES, GUIDANCE_MODES, OriginalGuidance
from emoray.dataset.attributes import N_ATTRIBUTES
from emoray.dataset.clusters import EmotionClusters

CLUSTERS = EmotionClusters(
    window=9, durations="key-down", mean=(0.0,) * 9, scale=(1.0,) * 9, happy=1, sizes=(1, 1), rule="by hand",
    centroids=((0.0,) * 6 + (60.0, 70.0, 3.0), (0.0,) * 6 + (72.0, 84.0, 3.0)),
)  # fmt: skip
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([1e-3, 1.0, 30.0, 1e3])


def situation(generator, rows, strength):
    window = generator.uniform(0, 1, (rows, 8, 3)) * [127 / 128, 9, 20]
    return GuidanceInputs(
        window=window, recent=generator.integers(-1, 128, (rows, 48)), step=generator.uniform(0, 9, rows),
        duration=generator.uniform(0, 20, rows), valence=generator.uniform(-1, 1, rows), strength=strength,
    )  # fmt: skip


def some(what, rows):
    return GuidanceInputs(**{name: getattr(what, name)[rows] for name in GuidanceInputs.__dataclass_fields__})


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, SIZES, st.floats(0, 10))
def test_every_mode_leaves_finite_logits_on_the_keyboard_row_by_row(seed, size, strength):
    generator = np.random.default_rng(seed)
    modes = list(generator.permutation(GUIDANCE_MODES))
    logits = generator.normal(0, size, (len(modes), 128))
    where = situation(generator, len(modes), np.full(len(modes), strength))
    found = guided(modes, logits, where, CLUSTERS, OriginalGuidance())
    for row, mode in enumerate(modes):
        assert np.isfinite(found[row][~OFF_KEYBOARD]).all()
        assert mode == "original-literal" or np.isneginf(found[row][OFF_KEYBOARD]).all()
        alone = guided([mode], logits[[row]], some(where, [row]), CLUSTERS, OriginalGuidance())
        assert alone.tobytes() == found[[row]].tobytes()
        if mode in ("none", *CONDITIONED_MODES):
            np.testing.assert_array_equal(found[row], on_keyboard(logits[[row]])[0])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, SIZES, SIZES, st.floats(0, 10))
def test_classifier_guidance_never_goes_beyond_its_budget(seed, size, pull, strength):
    generator = np.random.default_rng(seed)
    logits = on_keyboard(generator.normal(0, size, (3, 128)))
    direction = generator.normal(0, pull, (3, 128))
    budget = BUDGET * np.array([0, strength, strength**2])
    moved = log_probabilities(moved_by(logits, direction, budget))
    spent = kl_divergence(moved, log_probabilities(logits))
    assert np.isneginf(moved[:, OFF_KEYBOARD]).all()
    assert (spent <= budget + 1e-6).all()
    assert spent[0] == pytest.approx(0, abs=1e-9)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SEEDS, SIZES, st.floats(0.01, 100), st.floats(0.01, 1), st.sampled_from([0.0, 0.5, 1 - 2**-53, 1.0]))
def test_what_is_sampled_had_a_probability_in_any_batch(seed, size, temperature, top_p, uniform):
    generator = np.random.default_rng(seed)
    logits = on_keyboard(generator.normal(0, size, (4, 128)))
    temperatures, share, number = (np.full(4, value) for value in (temperature, top_p, uniform))
    chosen = sample(logits, temperatures, share, number)
    weights = probabilities(logits, temperatures, share)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights[np.arange(4), chosen] > 0).all()
    alone = [sample(logits[[row]], temperatures[:1], share[:1], number[:1])[0] for row in range(4)]
    assert chosen.tolist() == alone


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 40))
def test_the_condition_is_finite_bounded_and_a_profile(seed, count):
    generator = np.random.default_rng(seed)
    own, aimed = generator.uniform(-2.5, 2.5, (2, 3, N_ATTRIBUTES)).astype(np.float32)
    for some_profile in (own, aimed):
        some_profile[:, :12] = 12 * generator.dirichlet(np.full(12, 0.2), 3) - 1
    notes = generator.uniform(0, 1, (3, 16, 4)) * [127, 8, 20, 127]
    counts = np.full(3, count)
    asked = steered(own, aimed, achieved(notes, counts), counts, 16)
    assert np.isfinite(asked).all()
    assert (np.abs(asked[:, 12:]) <= FURTHEST).all()
    assert (asked[:, :12] >= -1 - 1e-6).all()
    np.testing.assert_allclose(asked[:, :12].sum(axis=1), 0, atol=1e-4)
