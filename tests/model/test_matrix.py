import pytest
import torch

from emoray.model import matrix
from emoray.model.matrix import WAYS, Way, matrix_of

SHAPES = [(21, 40), (64, 96), (640, 256), (960, 128), (128, 1)]


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def precision(request, monkeypatch):
    """Both kinds of hardware."""
    monkeypatch.setattr(matrix, "multiplies_bfloat16", lambda _: request.param == torch.bfloat16)
    return request.param


def layer(inside, outside):
    generator = torch.Generator().manual_seed(inside)
    weight = torch.randn(outside, inside, generator=generator) / inside
    return weight, torch.randn(outside, generator=generator)


def rows(count, inside):
    return torch.randn(count, inside, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize(("inside", "outside"), SHAPES)
def test_a_row_has_the_same_bits_alone_in_any_company_and_at_any_place(precision, inside, outside):
    product, x = matrix_of(*layer(inside, outside)), rows(600, inside)
    together = product(x)
    for count in (1, 2, 3, 5, 7, 16, 17, 33, 64, 90, 128, 256, 300):
        assert torch.equal(product(x[:count]), together[:count])
        assert torch.equal(product(x[100 : 100 + count]), together[100 : 100 + count])


@pytest.mark.parametrize(("inside", "outside"), SHAPES)
def test_a_product_is_the_layer_to_the_precision_of_the_hardware(precision, inside, outside):
    weight, bias = layer(inside, outside)
    x = rows(33, inside).view(3, 11, inside)
    exact = torch.nn.functional.linear(x, weight, bias)
    error = {torch.float32: 1e-5, torch.bfloat16: 4e-2}[precision]
    torch.testing.assert_close(matrix_of(weight, bias)(x), exact, atol=error, rtol=0)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_cutting_adds_up(way):
    weight, bias = layer(64, 32)
    parts = tuple(part.contiguous() for part in weight.t().chunk(way.parts))
    cut, x, sums = matrix.Matrix(parts, bias, way), rows(288, 64), rows(288, 32)
    torch.testing.assert_close(
        cut(x[:281]), torch.nn.functional.linear(x[:281], weight, bias), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(cut.sums(x, onto=sums.clone()), sums + x @ weight.t(), atol=1e-5, rtol=0)


def test_a_way_that_changes_a_rows_bits_is_not_taken(monkeypatch):
    """A kernel that rounds by the number of rows: only blocks of one size are left."""
    honest = torch.mm
    monkeypatch.setattr(torch, "mm", lambda x, weight: honest(x, weight) + len(x))
    matrix._way.cache_clear()
    assert matrix._way(32, 16, torch.float32, 1) == Way(1, 16)
    matrix._way.cache_clear()
