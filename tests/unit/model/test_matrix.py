import pytest
import torch

from emoray.model import matrix
from emoray.model.matrix import WAYS, Shape, Way, matrix_of, multiplies_bfloat16

CPU = torch.device("cpu")
SHAPE = Shape(32, 16, torch.float32, exact=False)
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
def test_a_row_has_the_same_bits_alone_in_any_batch_and_at_any_place(precision, inside, outside):
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
    error = {torch.float32: 2e-3, torch.bfloat16: 4e-2}[precision]
    torch.testing.assert_close(matrix_of(weight, bias)(x), exact, atol=error, rtol=0)


def test_a_matrix_of_halves_is_the_layer_of_weights_that_are_halves():
    if multiplies_bfloat16(torch.device("cpu")):
        pytest.skip("this machine multiplies bfloat16")
    weight, bias = layer(64, 32)
    halves, x = weight.half().float(), rows(9, 64)
    exact = torch.nn.functional.linear(x, halves, bias)
    torch.testing.assert_close(matrix_of(halves, bias)(x), exact, atol=1e-5, rtol=0)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_cutting_adds_up(way):
    if not matrix._has(way.kernel, SHAPE, CPU):
        pytest.skip(f"this torch has no kernel {way.kernel!r}")
    weight, bias = (part.half().float() for part in layer(64, 32))
    cut, x = matrix._laid_out(weight, bias, torch.float32, way), rows(288, 64)
    for count in (1, 5, 281):
        exact = torch.nn.functional.linear(x[:count], weight, bias)
        torch.testing.assert_close(cut(x[:count]), exact, atol=1e-5, rtol=0)


@pytest.mark.parametrize("way", WAYS)
def test_a_way_multiplies_few_numbers_of_rows_and_never_fewer_than_asked(way):
    assert all(rows <= way.rounded(rows) <= way.most for rows in range(1, way.most + 1))
    assert len(way.numbers) < 30
    assert all(way.rounded(number) == number for number in way.numbers)


def test_a_way_that_changes_a_rows_bits_is_not_taken(monkeypatch):
    """Kernels that round by the number of rows: only blocks of one size are left."""
    honest = torch.mm
    by_count = dict.fromkeys(matrix._KERNELS, lambda x, part, _: honest(x, part) + len(x))
    monkeypatch.setattr(matrix, "_KERNELS", by_count)
    monkeypatch.setattr(matrix, "_has", lambda kernel, *_: kernel == "plain")
    matrix._way.cache_clear()
    assert matrix._way(SHAPE, CPU, 1) == WAYS[-1]
    matrix._way.cache_clear()


def test_on_cuda_a_way_is_probed_there_and_only_torchs_own_product_is_there(monkeypatch):
    """A fake probe of a device that this machine may not have: it says yes to parts of a half alone."""
    probed, cuda = [], torch.device("cuda")
    monkeypatch.setattr(
        matrix, "_holds", lambda shape, device, way: probed.append((device, way)) or way.parts == 2
    )
    matrix._way.cache_clear()
    way = matrix._way(SHAPE, cuda, 1)
    matrix._way.cache_clear()
    assert way == Way("plain", 2, 16, 256)
    assert probed == [(cuda, Way("plain", parts, 16, 256)) for parts in (1, 2)]


def test_a_layer_on_any_device_is_laid_out_as_its_probe_says(monkeypatch):
    asked = []
    monkeypatch.setattr(
        matrix, "_way", lambda shape, device, threads: asked.append((shape, device)) or WAYS[-1]
    )
    weight, bias = (part.to("meta") for part in layer(64, 32))
    assert matrix_of(weight, bias).way == WAYS[-1]
    assert [(shape.inside, shape.outside, device.type) for shape, device in asked] == [(64, 32, "meta")]
