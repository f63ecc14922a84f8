import pytest
import torch
from torch import nn

from emoray.model.recurrence import product, recurrence

B, T, K, H = 3, 5, 4, 6


def given(precision=torch.float64):
    """A layer, what it hears, and what it carries; the same each time."""
    torch.manual_seed(0)
    layer = nn.LSTM(K, H, batch_first=True).to(precision)
    heard = torch.randn(B, T, K, dtype=precision, requires_grad=True)
    carried = tuple(torch.randn(1, B, H, dtype=precision, requires_grad=True) for _ in "hc")
    return layer, heard, carried


def outputs_and_gradients(through, layer, heard, carried):
    """Of a sum in which every output and both carried states have weights of their own."""
    out, (hidden, cell) = through(heard, carried)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    whole = (out * weights).sum() + 2 * (hidden**2).sum() + 3 * (cell**2).sum()
    return [out, hidden, cell, *torch.autograd.grad(whole, [heard, *carried, *layer.parameters()])]


@pytest.mark.parametrize(("precision", "off"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_a_layer_and_all_its_gradients_are_those_of_torch(precision, off):
    layer, heard, carried = given(precision)
    ours = outputs_and_gradients(lambda x, state: recurrence(layer, x, state), layer, heard, carried)
    theirs = outputs_and_gradients(layer, layer, heard, carried)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=off, rtol=off)


def test_bfloat16_products_stay_near_the_exact_layer_and_states_stay_float32():
    layer, heard, carried = given(torch.float32)
    exact = outputs_and_gradients(layer, layer, heard, carried)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = outputs_and_gradients(lambda x, state: recurrence(layer, x, state), layer, heard, carried)
    assert {part.dtype for part in rounded[1:]} == {torch.float32}
    for one, other in zip(rounded, exact, strict=True):
        assert (one - other).norm() < 0.03 * other.norm()


def test_a_second_backward_pass_is_refused_because_the_first_one_wrote_over_the_gates():
    layer, heard, carried = given()
    whole = recurrence(layer, heard, carried)[0].sum()
    whole.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        whole.backward()


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32])
def test_weights_that_are_laid_out_once_give_the_product(precision):
    torch.manual_seed(0)
    rows, weights = torch.randn(8, 32).to(precision), torch.randn(48, 32).to(precision)
    found, expected = product(weights, 8)(rows), rows.double() @ weights.double().t()
    torch.testing.assert_close(found.double(), expected, atol=0.1, rtol=0.01)
