import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from emoray.config import BaselinePreset, ExpressivePreset
from emoray.dataset.bins import DURATION_BINS, STEP_BINS, velocity_bins
from emoray.dataset.clusters import fit_clusters
from emoray.evaluate.likelihood import (
    baseline_sums,
    expressive_nats,
    likelihood_report,
    likelihood_sums,
    nats_after_seeds,
)
from emoray.evaluate.reference_models import CONTEXT_NOTES, TrainingCounts
from emoray.model.baseline import BaselineNetwork, Prediction
from emoray.model.checkpoint import Checkpoint
from emoray.model.expressive import Decided, ExpressiveNetwork, NoteInputs
from emoray.notes import as_notes, steps
from emoray.writers.evaluation import likelihood_table

CLUSTERS = fit_clusters(
    np.random.default_rng(0).lognormal(0, 0.4, (200, 9)).astype(np.float32),
    window=26,
    durations="key-down",
    random_seed=0,
)


class Knows60(BaselineNetwork):
    """Gives pitch 60 a chance of .5 and the rest what is left; always a step and a duration of .25 s."""

    def heads(self, summary):
        rows = len(summary)
        logits = torch.full((rows, 128), math.log(0.5 / 127))
        logits[:, 60] = math.log(0.5)
        return Prediction(logits, torch.full((rows,), 0.25), torch.full((rows,), 0.25))


def checkpoint(network, preset):
    return Checkpoint(
        network=network.eval(), preset=preset, clusters=CLUSTERS, metrics={}, fingerprint="test"
    )


def baseline_checkpoint():
    return checkpoint(Knows60(4), BaselinePreset(hidden=4))


def expressive_checkpoint():
    torch.manual_seed(0)
    preset = ExpressivePreset(embedding=12, hidden=16, head=8)
    return checkpoint(ExpressiveNetwork(preset), preset)


def piece(pitches):
    count = len(pitches)
    return as_notes(np.arange(count) * 0.5, [0.25] * count, pitches, [80] * count)


def tune(count, random_seed=0):
    generator = np.random.default_rng(random_seed)
    onset = np.cumsum(generator.exponential(0.2, count))
    return as_notes(onset, generator.exponential(0.5, count) + 0.02, generator.integers(40, 90, count),
                    generator.integers(1, 127, count))  # fmt: skip


def report(loaded, pieces):
    both = [(notes, notes) for notes in pieces]
    return likelihood_report(likelihood_sums(loaded, both, TrainingCounts.of(both), (0.2, 0.3)))


def test_nats_a_note_of_the_baseline_preset_by_hand():
    """Two notes are predicted, 60 and 61: -ln .5 and -ln (.5 / 127)."""
    measured = report(baseline_checkpoint(), [piece([60] * CONTEXT_NOTES + [60, 61])])
    assert measured["notes"] == 2
    assert measured["pitch_nll"] == pytest.approx((-math.log(0.5) - math.log(0.5 / 127)) / 2)
    assert (measured["pitch_top1"], measured["step_mse"], measured["duration_mse"]) == (0.5, 0.0625, 0.0)
    within = [
        0.5 * math.erfc(-x / 0.2 / math.sqrt(2)) for x in (0.25, 0.26)
    ]  # a step of .5 where .25 is foretold
    assert measured["step_nll"] == pytest.approx(-math.log(within[1] - within[0]))
    assert measured["total_nll"] == pytest.approx(
        sum(measured[f"{p}_nll"] for p in ("pitch", "step", "duration"))
    )


def test_nats_of_the_expressive_preset_are_its_softmax_over_the_true_classes():
    loaded, notes = expressive_checkpoint(), tune(300)
    [nats] = expressive_nats(loaded, [notes], [CONTEXT_NOTES])
    network = loaded.network
    columns = (notes["pitch"].astype(np.int64), steps(notes).astype(np.float32), notes["duration"].copy(),
               velocity_bins(notes["velocity"]))  # fmt: skip
    pitch, step, duration, velocity = (torch.from_numpy(column)[None] for column in columns)
    with torch.no_grad():
        out = network(
            NoteInputs(pitch[:, :-1], step[:, :-1], duration[:, :-1], velocity[:, :-1]),
            torch.zeros(1, 299, network.condition.in_features), network.start(1),
            Decided(step[:, 1:], pitch[:, 1:], duration[:, 1:]),
        )  # fmt: skip
    expected = functional.cross_entropy(out[1][0], pitch[0, 1:], reduction="none")[CONTEXT_NOTES - 1 :]
    np.testing.assert_allclose(nats["pitch"], expected, atol=1e-4)
    loud = functional.cross_entropy(out[3][0], velocity[0, 1:], reduction="none")[
        CONTEXT_NOTES - 1 :
    ] + math.log(4)
    np.testing.assert_allclose(nats["velocity"], loud, atol=1e-4)
    assert out[0].shape[-1] == STEP_BINS
    assert out[2].shape[-1] == DURATION_BINS


def test_pieces_of_all_lengths_are_measured_together_as_each_is_alone():
    loaded, pieces = expressive_checkpoint(), [tune(count, count) for count in (40, 300, 700, 27)]
    together = expressive_nats(loaded, pieces, [CONTEXT_NOTES] * 4)
    for notes, nats in zip(pieces, together, strict=True):
        [alone] = expressive_nats(loaded, [notes], [CONTEXT_NOTES])
        for name, values in alone.items():
            np.testing.assert_allclose(nats[name], values, atol=1e-4)
            assert len(values) == len(notes) - CONTEXT_NOTES


def test_all_models_answer_for_the_same_notes_and_short_pieces_count_nothing():
    pieces = [tune(60), tune(CONTEXT_NOTES), tune(31)]
    for loaded in (baseline_checkpoint(), expressive_checkpoint()):
        assert report(loaded, pieces)["notes"] == 35 + 6


def test_the_table_has_a_row_for_the_network_for_those_beside_it_and_for_each_rule():
    figures = report(baseline_checkpoint(), [tune(40)])
    heads, rows = likelihood_table(
        {"preset": "baseline", "likelihood": figures, "compared_with": {"other": figures}}
    )
    names = [
        "baseline preset",
        "other preset",
        "unigram_recent",
        "bigram",
        "repeat_last",
        "unigram",
        "uniform",
    ]
    assert [row[0] for row in rows] == [*names, "unigram, with the pedal"]
    assert rows[0][1:] == rows[1][1:]
    assert rows[0][heads.index("total")] == f"{figures['total_nll']:.3f}"


@pytest.mark.parametrize(
    "loaded", [baseline_checkpoint(), expressive_checkpoint()], ids=["baseline", "expressive"]
)
def test_nats_of_composed_notes_are_theirs_alone_with_the_seed_before_them(loaded):
    """What a whole piece costs from its note 60 on is what its notes from there on cost after the rest."""
    notes = tune(100)
    found = nats_after_seeds(loaded, [notes[:60]], [notes[60:]])
    if isinstance(loaded.network, BaselineNetwork):
        whole, head = (baseline_sums(loaded.network, part, 25, (1.0, 1.0)) for part in (notes, notes[:60]))
        expected = sum(whole[f"{name}_nll"] - head[f"{name}_nll"] for name in ("pitch", "step", "duration"))
    else:
        [row] = expressive_nats(loaded, [notes], [60])
        expected = sum(row[name].sum() for name in ("pitch", "step", "duration"))
    assert found == pytest.approx(expected / 40, rel=1e-4)
