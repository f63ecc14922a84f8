import math

import numpy as np
import torch

from emoray.evaluate.likelihood import (
    counted,
    likelihood_report,
    likelihood_sums,
    likelihood_table,
    training_counts,
)
from emoray.model.network import Prediction, SeedNetwork
from emoray.notes import as_notes


def piece(pitches):
    count = len(pitches)
    return as_notes(np.arange(count) * 0.5, [0.25] * count, pitches, [80] * count)


class Knows60(SeedNetwork):
    """Gives pitch 60 a chance of .5 and the rest what is left; always a step and a duration of .25 s."""

    def heads(self, summary):
        rows = len(summary)
        logits = torch.full((rows, 128), math.log(0.5 / 127))
        logits[:, 60] = math.log(0.5)
        return Prediction(logits, torch.full((rows,), 0.25), torch.full((rows,), 0.25))


def report(pieces, training=()):
    counts = training_counts(counted(training or pieces))
    return likelihood_report(likelihood_sums(Knows60(4), pieces, counts, window=3))


def test_nats_a_note_by_hand():
    """Two notes are predicted, 60 and 61: -ln .5 and -ln (.5 / 127)."""
    measured = report([piece([60, 60, 60, 60, 61])])
    assert measured["notes"] == 2
    assert abs(measured["pitch_nll"] - (-math.log(0.5) - math.log(0.5 / 127)) / 2) < 1e-6
    assert (measured["pitch_top1"], measured["step_mse"], measured["duration_mse"]) == (0.5, 0.0625, 0.0)


def test_counting_rows_by_hand():
    """Training has 3 of 60 and 1 of 61: with one added to each of 128, chances are 4 / 132 and 2 / 132."""
    measured = report([piece([60, 60, 61, 60])], training=[piece([60, 60, 60, 61])])
    assert abs(measured["uniform"]["pitch_nll"] - math.log(128)) < 1e-9
    assert abs(measured["unigram"]["pitch_nll"] + math.log(4 / 132)) < 1e-9
    recent = 0.5 * 4 / 132 + 0.5 * 2 / 3
    assert abs(measured["unigram_recent"]["pitch_nll"] + math.log(recent)) < 1e-9
    assert abs(measured["mean"]["step_mse"] - (0.375 - 0.5) ** 2) < 1e-9


def test_sums_of_pieces_add_up_and_no_window_crosses_them():
    one, two = piece([60] * 7), piece([61] * 5)
    both = report([one, two], training=[one])
    assert both["notes"] == 4 + 2
    apart = [report([part], training=[one])["pitch_nll"] for part in (one, two)]
    assert abs(both["pitch_nll"] - (4 * apart[0] + 2 * apart[1]) / 6) < 1e-9


def test_the_table_has_a_row_for_the_network_and_for_each_rule():
    lines = likelihood_table(report([piece([60, 60, 61, 60])])).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["this", "unigram_recent", "unigram", "uniform", "mean"]
