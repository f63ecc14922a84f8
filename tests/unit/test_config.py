import pytest

from emoray.config import BaselinePreset, OriginalGuidance, from_fields
from emoray.errors import ConfigError


def test_the_seed_preset_has_the_numbers_of_the_seed_document():
    preset, guidance = BaselinePreset(), OriginalGuidance()
    assert (preset.window, preset.hidden) == (25, 128)
    assert (preset.pitch_weight, preset.step_weight, preset.duration_weight) == (0.05, 1.0, 1.0)
    assert (guidance.alpha, guidance.beta, guidance.temperature, guidance.sigma) == (0.5, 0.5, 2.0, 0.1)


def test_an_unknown_setting_is_an_error_that_names_it_and_the_known_ones():
    with pytest.raises(ConfigError, match=r"config\.json: unknown setting widow; known are .*window"):
        from_fields(BaselinePreset, {"widow": 25}, subject="config.json")


@pytest.mark.parametrize("value", [0, -1, float("nan"), "25", None])
def test_a_setting_that_makes_no_sense_is_refused_by_name(value):
    with pytest.raises(ConfigError, match="window: must be a positive number"):
        BaselinePreset(window=value)
