import math

import numpy as np
import pytest

from emoray.config import DEFAULT_NOTES, MOST_NOTES, BaselinePreset, OriginalGuidance, Prompt, from_fields
from emoray.errors import ConfigError, RequestError
from emoray.notes import as_notes

SEED = as_notes([0.0], [1.0], [60], [64])


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


@pytest.mark.parametrize(
    ("field", "value"),
    [("valence", math.nan), ("strength", -0.1), ("notes", 0), ("seconds", math.inf), ("temperature", -1)],
)
def test_a_request_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(RequestError, match=f"{field}: must lie in"):
        Prompt(**({"seed": SEED, "valence": 0.0} | {field: value}))


def test_an_unknown_guidance_and_an_empty_seed_are_refused():
    with pytest.raises(
        RequestError, match="'magic' is unknown; choose none, original, original-tempered, original-literal"
    ):
        Prompt(seed=SEED, valence=1.0, guidance="magic")
    with pytest.raises(RequestError, match="holds no notes"):
        Prompt(seed=np.empty(0, SEED.dtype), valence=1.0)


def test_a_length_is_notes_or_seconds_or_the_seed_documents_120_notes():
    assert Prompt(seed=SEED, valence=1.0).length == (DEFAULT_NOTES, math.inf) == (120, math.inf)
    assert Prompt(seed=SEED, valence=1.0, notes=7).length == (7, math.inf)
    assert Prompt(seed=SEED, valence=1.0, seconds=3).length == (MOST_NOTES, 3)
    assert Prompt(seed=SEED, valence=1.0, notes=7, seconds=3).length == (7, 3)
