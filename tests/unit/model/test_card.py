from emoray.model.card import MAESTRO_NOTICE, NOTICES, model_card

from emoray.config import BaselinePreset, ExpressivePreset


def test_a_seed_card_has_figures_settings_licence_and_limits():
    card = model_card(BaselinePreset(window=30), {"validation_pitch_nll": 3.71234567}, origin="Trained here.")
    assert card.startswith("# emoray checkpoint, preset baseline\n")
    assert "from the 30 notes\nbefore it" in card
    for line in ("| validation_pitch_nll | 3.7123 |", "| window | 30 |", "Trained here."):
        assert f"\n{line}\n" in card
    assert "carry the licence of the music" in card
    assert "\nLimits: the emotion is heard in tempo" in card


def test_an_expressive_card_says_what_it_can_be_told_and_where_it_ends():
    preset = ExpressivePreset(hidden=99, lookahead=33)
    card = model_card(preset, {"validation_told_loss": 8.0}, origin="Trained here.")
    assert card.startswith("# emoray checkpoint, preset expressive\n")
    assert "2 layers of 99" in card
    assert "profile, density, duration, register, velocity\nof the 33 notes to come" in card
    assert "| hidden | 99 |" in card
    assert "nats a note" in card
    assert "Attributes are not emotions" in card


def test_the_licence_of_maestro_binds_the_weights_of_either_preset():
    for preset in (BaselinePreset(), ExpressivePreset()):
        card = model_card(preset, {}, origin="", notice=NOTICES["maestro"])
        assert MAESTRO_NOTICE in card
        assert "CC BY-NC-SA 4.0" in card
        assert "carry the licence of the music" not in card


def test_cards_have_no_long_lines():
    for preset in (BaselinePreset(), ExpressivePreset()):
        assert max(map(len, model_card(preset, {}, origin="").splitlines())) <= 120
