import copy

import pytest
import torch
from emoray.model.optimizer import Float32Muon, orthogonal

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
