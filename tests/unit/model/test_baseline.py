import torch

from emoray.model.baseline import BaselineNetwork


def network(random_seed=0):
    torch.manual_seed(random_seed)
    return BaselineNetwork(128).eval().prepared()


def test_the_network_is_the_seed_documents():
    """84,354 parameters with one bias vector in the LSTM; torch keeps two (512 more)."""
    assert sum(parameter.numel() for parameter in network().parameters()) == 84_354 + 512


def test_rows_have_the_same_bits_alone_and_in_any_batch():
    model, x = network(), torch.rand(70, 25, 3, generator=torch.Generator().manual_seed(1))
    crowd = model.predict_rows(x)
    for size in (1, 2, 3, 4, 7, 16, 33, 64):
        part = model.predict_rows(x[5 : 5 + size])
        for together, apart in zip(crowd, part, strict=True):
            assert torch.equal(together[5 : 5 + size], apart)


def test_a_prepared_prediction_is_the_forward_pass():
    model, x = network(), torch.rand(9, 25, 3, generator=torch.Generator().manual_seed(1))
    for one, other in zip(model(x), model.predict_rows(x), strict=True):
        torch.testing.assert_close(one, other)
