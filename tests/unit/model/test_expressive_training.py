import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from emoray.config import ExpressivePreset
from emoray.dataset.attributes import GROUPS
from emoray.dataset.bins import DURATION_BINS, STEP_BINS, VELOCITY_BINS
from emoray.dataset.spans import stacked, training_spans
from emoray.errors import TrainingError
from emoray.model.expressive import ExpressiveNetwork
from emoray.model.expressive_training import (
    PARTS,
    ExpressiveOptimizer,
    Float32Muon,
    epoch_updates,
    fitted,
    learning_rate,
    orthogonal,
    train_epoch,
    validation_sums,
)
from emoray.notes import as_notes

PRESET = ExpressivePreset(
    embedding=16, hidden=16, head=16, chunk=8, span=32, lookahead=8, batch_size=4, epoch_spans=32,
    dropout=0.0, condition_dropout=0.2, transpose=0, stretch=0.0, loudness=0,
)  # fmt: skip
NONE = np.full(len(GROUPS), False)


def scale(count):
    """C major up and down an octave, for ever: which pitch is next is certain."""
    up_and_down = [60, 62, 64, 65, 67, 69, 71, 72, 71, 69, 67, 65, 64, 62]
    pitch = [up_and_down[note % 14] for note in range(count)]
    return as_notes(np.arange(count) * 0.25, [0.25] * count, pitch, [80] * count)


def trained(preset, *, random_seed=0, epochs=1, lengths=(100, 80)):
    torch.manual_seed(random_seed)
    network = ExpressiveNetwork(preset)
    optimizer = ExpressiveOptimizer(network, preset)
    pieces = [scale(length) for length in lengths]
    for epoch in range(epochs):
        batches = training_spans(pieces, preset, preset.epoch_spans, preset.batch_size, (random_seed, epoch))
        means = train_epoch(network, network, optimizer, batches, preset, lambda update: 0.02)
    return network, means


def validated(network, rows):
    return validation_sums(network, [stacked(rows, PRESET, [NONE] * len(rows))], PRESET)


def test_a_scale_that_repeats_is_learned_in_a_few_updates():
    network, means = trained(PRESET, epochs=2)
    assert means["updates"] == 32  # 8 batches of 4 chunks
    sums = validated(network, [scale(33)])
    nats = {part: sums[part] / sums["notes"] for part in PARTS}
    assert nats["pitch"] < 1.0 < math.log(128)
    assert nats["step"] + nats["duration"] + nats["velocity"] < 1.0


def test_the_same_random_seed_trains_the_same_weights():
    preset = replace(PRESET, dropout=0.1)
    (one, _), (again, _), (other, _) = (trained(preset, random_seed=seed) for seed in (0, 0, 1))
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(one.heads.weight, other.heads.weight)


def test_padding_weighs_nothing():
    torch.manual_seed(0)
    network = ExpressiveNetwork(PRESET)
    alone, beside = validated(network, [scale(6)]), validated(network, [scale(6), scale(33)])
    longer = validated(network, [scale(33)])
    assert (alone["notes"], beside["notes"]) == (5, 37)
    for part in PARTS:
        assert beside[part] == pytest.approx(alone[part] + longer[part], rel=1e-4)


def test_a_chunk_of_padding_alone_trains_without_a_number_going_wrong():
    network = ExpressiveNetwork(PRESET)
    optimizer = ExpressiveOptimizer(network, PRESET)
    spans = stacked([scale(6)], PRESET, [NONE]).padded(24)
    means = train_epoch(network, network, optimizer, [spans], PRESET, lambda update: 0.01)
    assert means["updates"] == 3
    assert all(math.isfinite(value) for value in means.values())
    assert all(torch.isfinite(weight).all() for weight in network.parameters())


def test_an_untrained_network_is_about_as_sure_as_a_coin_with_a_face_for_each_bin():
    torch.manual_seed(0)
    sums = validated(ExpressiveNetwork(PRESET), [scale(33)])
    for part, bins in zip(PARTS, (STEP_BINS, 128, DURATION_BINS, VELOCITY_BINS), strict=True):
        assert sums[part] / sums["notes"] == pytest.approx(math.log(bins), abs=0.4)


def test_every_parameter_gets_a_gradient_even_when_nothing_is_told():
    """DistributedDataParallel waits for ever for one that does not."""
    network = ExpressiveNetwork(PRESET)
    optimizer = ExpressiveOptimizer(network, PRESET)
    train_epoch(
        network, network, optimizer, [stacked([scale(9)], PRESET, [NONE])], PRESET, lambda update: 0.01
    )
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_the_learning_rate_rises_stays_and_falls_to_zero():
    preset = replace(PRESET, learning_rate=1.0, warmup=10, decay=0.4)
    rates = [learning_rate(update, 100, preset) for update in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert set(rates[9:61]) == {1.0}
    assert rates[80] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(1 / 40)
    assert learning_rate(100, 100, preset) == 0


def test_a_large_corpus_is_read_as_the_preset_says():
    preset = ExpressivePreset()
    assert fitted(preset, notes=5_600_000, longest=30_000) == preset
    assert epoch_updates(preset, 30_000) == 7 * 20  # spans of 1,920 notes in chunks of 96


def test_a_small_corpus_makes_small_epochs_small_batches_and_a_short_warm_up():
    """1,000 notes in pieces of 101: ten spans of 100, so batches of two and ten updates an epoch."""
    small = fitted(ExpressivePreset(), notes=1_000, longest=101)
    assert (small.epoch_spans, small.batch_size, small.warmup) == (10, 2, 120)
    least = fitted(ExpressivePreset(), notes=2, longest=2)
    assert (least.epoch_spans, least.batch_size) == (2, 1)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_share_batches_equally(workers):
    small = fitted(ExpressivePreset(), notes=1_000, longest=101, workers=workers)
    assert small.batch_size % workers == 0
    assert small.epoch_spans % small.batch_size == 0
    assert small.batch_size >= workers


SETTINGS = {"lr": 0.02, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}


def matrices():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((6, 4), (4, 10))]


def updated(kind):
    """Matrices after three updates by an optimizer, and its state."""
    weights, generator = matrices(), torch.Generator().manual_seed(1)
    optimizer = kind(weights, **SETTINGS)
    for _ in range(3):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return weights, optimizer.state_dict()


def test_it_takes_the_steps_of_torchs_muon_without_its_rounding():
    (ours, our_state), (theirs, their_state) = updated(Float32Muon), updated(torch.optim.Muon)
    for one, other, begun in zip(ours, theirs, matrices(), strict=True):
        assert (one - begun).abs().max() > 0.01
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)
    torch.testing.assert_close(our_state["state"], their_state["state"])


def share_of_the_work(rank, meeting, out):
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    weights, _ = updated(Float32Muon)
    torch.save([weight.data for weight in weights], f"{out}{rank}")
    torch.distributed.destroy_process_group()


def test_two_workers_that_share_the_work_take_the_steps_of_one(tmp_path):
    torch.multiprocessing.spawn(share_of_the_work, (tmp_path / "meeting", tmp_path / "out"), nprocs=2)
    for rank in range(2):
        theirs = torch.load(tmp_path / f"out{rank}", weights_only=True)
        for one, other in zip(updated(Float32Muon)[0], theirs, strict=True):
            assert torch.equal(one, other)


def test_either_goes_on_from_the_state_of_the_other():
    weights, state = updated(torch.optim.Muon)
    optimizer = Float32Muon(weights, **SETTINGS)
    optimizer.load_state_dict(copy.deepcopy(state))
    torch.testing.assert_close(optimizer.state_dict()["state"], state["state"])


def test_half_the_products_make_what_the_iteration_as_it_is_written_makes():
    """Also of a matrix with singular values from 1 down to 1e-7, in float64 and within float32."""
    generator = torch.Generator().manual_seed(3)
    left, right = (torch.linalg.qr(torch.randn(rows, 24, generator=generator))[0] for rows in (24, 60))
    matrix = (left * torch.logspace(0, -7, 24)) @ right.T
    [group] = Float32Muon(matrices(), **SETTINGS).param_groups
    a, b, c = group["ns_coefficients"]
    x = matrix.double() / matrix.double().norm()
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    assert (orthogonal(matrix.double(), group) - x).norm() < 1e-9 * x.norm()
    assert (orthogonal(matrix, group) - x).norm() < 1e-3 * x.norm()


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3)])
def test_singular_values_come_near_to_one_and_directions_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    [group] = Float32Muon(matrices(), **SETTINGS).param_groups
    near = orthogonal(matrix, group)
    assert ((torch.linalg.svdvals(near) > 0.5) & (torch.linalg.svdvals(near) < 1.3)).all()
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ near @ right.T
    torch.testing.assert_close(turned, torch.diag(turned.diagonal()), atol=1e-3, rtol=0)


@pytest.mark.parametrize("spoilt", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_stops_the_training_and_leaves_the_weights(spoilt):
    torch.manual_seed(0)
    network = ExpressiveNetwork(PRESET)
    with torch.no_grad():
        network.pitch_out.bias[3] = spoilt
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    optimizer = ExpressiveOptimizer(network, PRESET)
    spans = stacked([scale(33)], PRESET, [NONE])
    with pytest.raises(TrainingError, match="diverged: the gradient of update 1 is nan; train into"):
        train_epoch(network, network, optimizer, [spans], PRESET, lambda update: 0.01)
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(weight, before[name], equal_nan=True, rtol=0, atol=0)


def test_a_loss_that_is_no_number_is_not_counted_as_nothing():
    torch.manual_seed(0)
    network = ExpressiveNetwork(PRESET)
    with torch.no_grad():
        network.step_out.bias[0] = math.nan
    sums = validated(network, [scale(33)])
    assert math.isnan(sums["step"])
    assert math.isfinite(sums["pitch"])
