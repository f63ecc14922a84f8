import math

import numpy as np
import pytest
import torch

from emoray.config import BaselinePreset, ExpressivePreset
from emoray.dataset.windows import flatten, window_starts
from emoray.errors import TrainingError
from emoray.model import training
from emoray.model.baseline import BaselineNetwork
from emoray.model.training import Standing
from emoray.notes import as_notes

PRESET = BaselinePreset(window=5, hidden=16, batch_size=16, learning_rate=0.01)


def scales(pieces=4, count=200):
    """Pieces that climb a scale in even steps: easy to learn, so a network that cannot is broken."""
    pitch = 48 + np.tile([0, 2, 4, 5, 7, 9, 11], count)[:count]
    return flatten(
        [as_notes(np.arange(count) * 0.25, [0.2] * count, pitch, [80] * count) for _ in range(pieces)]
    )


def test_training_learns_a_scale():
    torch.manual_seed(0)
    table, lengths = scales()
    starts, network = window_starts(lengths, 5), BaselineNetwork(16)
    optimizer = torch.optim.Adam(network.parameters(), PRESET.learning_rate)

    def validate():
        sums = training.validation_sums(network, training.batches(table, starts, 5, 64), PRESET)
        return training.means(sums)

    before = validate()
    for epoch in range(60):
        order = training.epoch_starts(starts, len(starts), random_seed=0, epoch=epoch, rank=0)
        training.train_epoch(network, optimizer, training.batches(table, order, 5, 16), PRESET)
    after = validate()
    assert abs(before["validation_pitch_nll"] - np.log(128)) < 0.3
    assert after["validation_pitch_nll"] < 1.0
    assert after["validation_step_loss"] < 0.01


def test_an_epochs_order_depends_on_random_seed_epoch_and_rank_alone():
    starts = np.arange(1000)
    first = training.epoch_starts(starts, 100, random_seed=1, epoch=2, rank=0)
    assert np.array_equal(first, training.epoch_starts(starts, 100, random_seed=1, epoch=2, rank=0))
    assert len(set(first)) == 100
    for other in ({"random_seed": 2, "epoch": 2, "rank": 0}, {"random_seed": 1, "epoch": 3, "rank": 0},
                  {"random_seed": 1, "epoch": 2, "rank": 1}):  # fmt: skip
        assert not np.array_equal(first, training.epoch_starts(starts, 100, **other))


def test_validation_sums_of_shards_add_up_to_the_whole():
    torch.manual_seed(0)
    table, lengths = scales()
    starts, network = window_starts(lengths, 5), BaselineNetwork(16)

    def sums(part):
        return training.validation_sums(network, training.batches(table, part, 5, 64), PRESET)

    whole, one, two = sums(starts), sums(starts[::2]), sums(starts[1::2])
    for name, value in whole.items():
        assert abs(value - one[name] - two[name]) < 1e-3 * max(1, abs(value))


def epochs(*validation_losses):
    standing = Standing(learning_rate=0.1)
    for loss in validation_losses:
        standing = standing.after(
            {"validation_loss": loss, "seconds": 10.0}, BaselinePreset(patience=4, epochs=9)
        )
    return standing


def test_a_stall_halves_the_learning_rate_and_then_ends_training():
    assert epochs(3.0, 2.0).learning_rate == 0.1
    assert epochs(3.0, 2.0, 2.5).learning_rate == 0.1
    assert epochs(3.0, 2.0, 2.5, 2.5).learning_rate == 0.05
    stalled = epochs(3.0, 2.0, 2.5, 2.5, 2.5, 2.5)
    assert (stalled.best_loss, stalled.best_epoch) == (2.0, 2)
    assert stalled.finished(BaselinePreset(patience=4)) == "no lower validation loss for 4 epochs"


def test_training_stops_before_the_epoch_that_would_break_the_time_limit():
    two_epochs_of_ten_seconds = epochs(3.0, 2.0)
    assert two_epochs_of_ten_seconds.finished(BaselinePreset(), max_seconds=29) == "the time is up"
    assert two_epochs_of_ten_seconds.finished(BaselinePreset(), max_seconds=31) == ""
    assert two_epochs_of_ten_seconds.finished(BaselinePreset(epochs=2)) == "all 2 epochs are done"
    assert Standing().finished(BaselinePreset(), max_seconds=0.001) == "", "one epoch is always trained"


def timed(seconds, epochs=60, limit=1000.0):
    """The standing after epochs that took so many seconds each, and the preset."""
    preset = ExpressivePreset(epochs=epochs)
    standing = Standing()
    for epoch in seconds:
        standing = standing.after({"validation_loss": 1.0, "seconds": epoch}, preset).planning(preset, limit)
    return standing, preset


def test_epochs_are_planned_from_what_the_first_two_took():
    """Two epochs of 10 s leave 980 s; 95 % of that is 93 epochs, or half as many if they take 20 s."""
    assert timed([10.0])[0].planned == 0
    assert timed([10.0, 10.0], epochs=200)[0].planned == 2 + 93
    assert timed([30.0, 10.0], epochs=200)[0].planned == 2 + 45
    assert timed([10.0, 10.0], epochs=60)[0].planned == 60
    assert timed([10.0, 10.0], epochs=200, limit=float("inf"))[0].planned == 0


def test_a_plan_is_cut_when_epochs_get_slower_and_made_longer_only_before_the_rate_falls():
    assert timed([10.0, 10.0, 10.0, 10.0], epochs=200)[0].planned in (94, 95)
    assert timed([10.0, 10.0, 2.0, 2.0], epochs=999)[0].planned == 4 + 463  # 95 % of 976 s at 2 s
    assert timed([10.0] * 4 + [1.0], limit=60, epochs=200)[0].planned == 5  # the fall began after 3 of 5
    assert timed([10.0, 100.0, 100.0], epochs=200)[0].planned == 3 + 7  # 95 % of 790 s at 100 s


def test_a_planned_run_ends_with_its_plan_and_a_resumed_one_keeps_it():
    standing, preset = timed([10.0, 10.0], limit=30.2)
    assert standing.finished(preset) == "all 2 epochs are done"
    standing, preset = timed([10.0] * 3, limit=34.5)
    assert standing.planned == 3
    assert standing.finished(preset) == "all 3 epochs are done"
    again = Standing().after({"validation_loss": 1.0, "seconds": 1.0, "planned_epochs": 7}, preset)
    assert again.planned == 7


def test_the_seed_preset_plans_nothing():
    assert epochs(3.0, 2.0, 1.0).planning(BaselinePreset(), 60.0).planned == 0


def test_nats_of_a_pitch_are_found_in_either_presets_metrics():
    assert training.pitch_nats({"validation_pitch_nll": 3.0}) == 3.0
    assert training.pitch_nats({"validation_pitch_nats": 2.0}) == 2.0


@pytest.mark.parametrize("name", ["train_loss", "validation_loss"])
@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_an_epoch_with_a_loss_that_is_no_number_is_never_the_best(name, loss):
    metrics = {"train_loss": 1.0, "validation_loss": 1.0, "seconds": 1.0} | {name: loss}
    with pytest.raises(TrainingError, match=f"diverged: the {name.replace('_', ' ')} of epoch 1 is {loss}"):
        Standing().after(metrics, BaselinePreset())


def test_a_baseline_network_that_diverges_keeps_its_weights_and_says_so():
    torch.manual_seed(0)
    network = BaselineNetwork(8)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    x, y = np.full((2, 5, 3), 0.5, np.float32), np.full((2, 3), np.nan, np.float32)
    y[:, 0] = 0.5
    with pytest.raises(TrainingError, match="diverged"):
        training.train_epoch(network, optimizer, iter([(x, y)]), BaselinePreset(window=5, hidden=8))
    assert all(torch.isfinite(weight).all() for weight in network.parameters())
