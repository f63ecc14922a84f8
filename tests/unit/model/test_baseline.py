import math

import torch

from emoray.config import BaselinePreset
from emoray.model.baseline import BaselineNetwork, Prediction, losses, non_negative_squared_error, pitch_of


def network(random_seed=0):
    torch.manual_seed(random_seed)
    return BaselineNetwork(128).eval().prepared()


def test_the_network_is_the_original_systems():
    """84,354 parameters with one bias vector in the LSTM; torch keeps two (512 more)."""
    assert sum(parameter.numel() for parameter in network().parameters()) == 84_354 + 512


def test_rows_have_the_same_bits_alone_and_in_any_batch():
    model, x = network(), torch.rand(70, 25, 3, generator=torch.Generator().manual_seed(1))
    whole = model.predict_rows(x)
    for size in (1, 2, 3, 4, 7, 16, 33, 64):
        part = model.predict_rows(x[5 : 5 + size])
        for together, apart in zip(whole, part, strict=True):
            assert torch.equal(together[5 : 5 + size], apart)


def test_a_prepared_prediction_is_the_forward_pass():
    model, x = network(), torch.rand(9, 25, 3, generator=torch.Generator().manual_seed(1))
    for one, other in zip(model(x), model.predict_rows(x), strict=True):
        torch.testing.assert_close(one, other)


def test_the_loss_by_hand():
    """Uniform logits: ln 128. Step: (.5 - .1)^2. Duration: (-.2 - .3)^2 + 10 x .2."""
    prediction = Prediction(torch.zeros(1, 128), torch.tensor([0.5]), torch.tensor([-0.2]))
    parts = losses(prediction, torch.tensor([[60 / 128, 0.1, 0.3]]), BaselinePreset())
    assert abs(float(parts["pitch_nll"]) - math.log(128)) < 1e-6
    assert abs(float(parts["step_loss"]) - 0.16) < 1e-6
    assert abs(float(parts["duration_loss"]) - 2.25) < 1e-6
    assert abs(float(parts["loss"]) - (0.05 * math.log(128) + 0.16 + 2.25)) < 1e-5


def test_a_negative_time_is_pushed_up_and_a_positive_one_is_only_squared():
    above = non_negative_squared_error(torch.tensor([0.3]), torch.tensor([0.1]))
    below = non_negative_squared_error(torch.tensor([-0.1]), torch.tensor([-0.1]))
    assert abs(float(above) - 0.04) < 1e-6
    assert abs(float(below) - 1.0) < 1e-6


def test_every_pitch_survives_model_units():
    pitches = torch.arange(128)
    y = torch.stack([pitches / 128, torch.zeros(128), torch.zeros(128)], dim=1)
    assert torch.equal(pitch_of(y), pitches)
