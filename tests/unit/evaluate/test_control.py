import numpy as np
import pytest

from emoray.evaluate.control import (
    QUADRANTS,
    centred_accuracy,
    control_report,
    paired_effect,
    positive_control,
    quadrant_accuracy,
    seeds_of,
    variety,
)
from emoray.evaluate.judges import load_judges
from emoray.notes import as_notes


def tune(random_seed=0, count=160, step=0.2, pitches=(60, 62, 64, 65, 67, 69, 71, 72)):
    generator = np.random.default_rng(random_seed)
    return as_notes(np.arange(count) * step, [step] * count, generator.choice(pitches, count), [80] * count)


def test_identical_files_differ_by_nothing_and_win_half():
    same = np.random.default_rng(0).random(50)
    found = paired_effect(same, same, same)
    assert (found["difference"], found["paired_accuracy"], found["clear_pairs"], found["effect_size"]) == (
        0,
        0.5,
        0,
        0,
    )
    assert found["confidence_interval"] == [0, 0]


def test_paired_figures_by_hand():
    happy, sad = np.array([0.9, 0.8, 0.5, 0.4]), np.array([0.5, 0.78, 0.5, 0.6])
    found = paired_effect(happy, sad, np.array([0.55, 0.65, 0.6, 0.7]))
    assert found["difference"] == pytest.approx((0.4 + 0.02 + 0 - 0.2) / 4)
    assert found["paired_accuracy"] == (2 + 0.5) / 4
    assert found["clear_pairs"] == 0.25
    assert found["centred_accuracy"] == pytest.approx((2 / 4 + 3 / 4) / 2)  # .6 is no side of .625's


def test_an_interval_of_noise_holds_zero_and_one_of_an_effect_does_not():
    generator = np.random.default_rng(3)
    noise, other = generator.random(200), generator.random(200)
    low, high = paired_effect(noise, other, noise)["confidence_interval"]
    assert low < 0 < high
    low, high = paired_effect(noise + 0.2, noise, noise)["confidence_interval"]
    assert 0 < low <= high
    assert paired_effect(noise, other, noise) == paired_effect(noise, other, noise)


def test_a_tempo_that_nobody_hears_wins_every_pair_but_moves_no_judge_of_pitches():
    """Why paired accuracy is never shown alone."""
    happy = [tune(seed) for seed in range(30)]
    sad = [tune(seed, step=0.22) for seed in range(30)]
    found = control_report({"happy": happy, "sad": sad}, happy, load_judges())
    assert found["arousal"]["paired_accuracy"] == 1.0
    assert found["arousal"]["difference"] < 0.2
    assert found["valence_from_pitches"]["difference"] == 0
    assert found["feature_shifts"]["note_rate"] > 0 == found["feature_shifts"]["majorness"]


def test_a_degenerate_piece_is_a_failure_and_not_a_pair():
    nothing, one_note = as_notes([], [], [], []), tune(count=100, pitches=(60,))
    happy = [tune(1), nothing, one_note]
    found = control_report({"happy": happy, "sad": [tune(4), tune(5), tune(6)]}, [tune(7)] * 3, load_judges())
    assert found["valence"]["failures"] == 2
    assert abs(found["valence"]["difference"]) <= 1 / 3
    assert found["valence"]["centred_accuracy"] <= (1 / 3 + 1) / 2


def test_quadrants_count_only_if_valence_and_arousal_both_come_out():
    middle = {"valence": np.array([0.5]), "arousal": np.array([0.5])}
    right = {
        name: {"valence": np.array([0.5 + valence / 4]), "arousal": np.array([0.5 + arousal / 4])}
        for name, (valence, arousal) in QUADRANTS.items()
    }
    assert quadrant_accuracy(right, middle) == 1
    right["calm"] = right["happy"]
    assert quadrant_accuracy(right, middle) == 0.75


def test_failures_are_on_the_wrong_side():
    assert centred_accuracy(np.array([np.nan, 0.9]), np.array([0.1, np.nan]), np.array([0.5, 0.5])) == 0.5


def test_seeds_are_openings_first_then_stretches_further_in():
    pieces = [tune(seed, count=count) for seed, count in enumerate((1200, 400, 100))]
    seeds, real = seeds_of(pieces, 4, 200)
    assert len(seeds) == len(real) == 3  # two openings and one stretch that starts at note 512
    assert {len(seed) for seed in seeds} == {64}
    np.testing.assert_array_equal(real[0]["pitch"], pieces[0]["pitch"][64:264])
    np.testing.assert_array_equal(seeds[2]["pitch"], pieces[0]["pitch"][512:576])
    assert all(seed["onset"][0] == 0 for seed in (*seeds, *real))


def test_the_positive_control_lowers_degrees_and_slows():
    pair = positive_control([tune(0), tune(0, pitches=(60, 60, 60, 62, 63, 63, 65, 67, 67, 68))])
    assert len(pair["happy"]) == 1
    happy, sad = pair["happy"][0], pair["sad"][0]
    assert {(int(h), int(s)) for h, s in zip(happy["pitch"], sad["pitch"], strict=True) if h != s} == {
        (64, 63), (69, 68), (71, 70),
    }  # fmt: skip
    assert sad["onset"][-1] == pytest.approx(1.5 * happy["onset"][-1])


def test_variety_of_a_drone_is_small():
    assert variety([tune(count=200, pitches=(60, 64))]) == pytest.approx(
        {"pitch_class_entropy": 1.0, "distinct_pitches": 2.0}, abs=0.01
    )
