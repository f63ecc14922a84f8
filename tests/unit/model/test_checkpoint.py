import json

import numpy as np
import pytest
import torch

from emoray.config import BaselinePreset, ExpressivePreset
from emoray.dataset.clusters import fit_clusters
from emoray.dataset.spans import stacked
from emoray.errors import CheckpointError
from emoray.model.baseline import BaselineNetwork
from emoray.model.checkpoint import MAESTRO_NOTICE, NOTICES, load_checkpoint, model_card, save_checkpoint
from emoray.model.expressive import ExpressiveNetwork
from emoray.model.expressive_training import PARTS, validation_sums
from emoray.model.preset import PRETRAINED_DEFAULT
from emoray.notes import as_notes

FEATURES = np.random.default_rng(0).lognormal(0, 1, (50, 9)).astype(np.float32)
CLUSTERS = fit_clusters(FEATURES, window=6, durations="key-down")
SOUNDING = fit_clusters(FEATURES, window=6, durations="sounding")
PRESET = BaselinePreset(window=5, hidden=8)
EXPRESSIVE = ExpressivePreset(embedding=16, hidden=16, head=16)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    network = BaselineNetwork(PRESET.hidden)
    card = model_card(PRESET, {"pitch_nll": 3.5}, origin="Trained on my own music.")
    save_checkpoint(
        tmp_path / "run", network=network, preset=PRESET, clusters=CLUSTERS, metrics={"epochs": 3}, card=card
    )
    return tmp_path / "run", network


@pytest.fixture(params=[False, True], ids=["single", "half"])
def expressive(request, tmp_path):
    """A folder with an expressive checkpoint, and its network: in single precision and in half."""
    torch.manual_seed(0)
    network = ExpressiveNetwork(EXPRESSIVE)
    save_checkpoint(
        tmp_path / "run", network=network, preset=EXPRESSIVE, clusters=SOUNDING, metrics={}, card="",
        half=request.param,
    )  # fmt: skip
    return tmp_path / "run", network, request.param


def test_an_expressive_checkpoint_comes_back_in_single_precision(expressive):
    folder, network, half = expressive
    loaded = load_checkpoint(folder)
    assert (loaded.preset, loaded.preset_name, loaded.sounding) == (EXPRESSIVE, "expressive", True)
    assert loaded.guidance == "cfg"
    assert loaded.attributes == ("profile", "onset_rate", "duration", "register", "velocity")
    assert {tensor.dtype for tensor in loaded.network.state_dict().values()} == {torch.float32}
    for name, tensor in network.state_dict().items():
        expected = tensor.half().float() if half else tensor
        assert torch.equal(loaded.network.state_dict()[name], expected)


def test_half_precision_is_half_the_size_and_as_good_to_a_hundredth_of_a_nat(tmp_path):
    torch.manual_seed(0)
    network = ExpressiveNetwork(EXPRESSIVE).eval()
    sizes, nats = [], []
    notes = as_notes(np.arange(40) * 0.2, [0.2] * 40, 60 + np.arange(40) % 12, [80] * 40)
    spans = stacked([notes], EXPRESSIVE, [np.full(5, True)])
    for half in (False, True):
        folder = tmp_path / str(half)
        save_checkpoint(
            folder, network=network, preset=EXPRESSIVE, clusters=SOUNDING, metrics={}, card="", half=half
        )
        sizes.append((folder / "weights.safetensors").stat().st_size)
        sums = validation_sums(load_checkpoint(folder).network, [spans], EXPRESSIVE)
        nats.append(sum(sums[part] for part in PARTS) / sums["notes"])
    assert sizes[1] < 0.55 * sizes[0]
    assert nats[1] == pytest.approx(nats[0], abs=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"attributes": ["profile", "onset_rate"]},
            "was trained with other attributes .*run `emoray train` again",
        ),
        ({"bins": {"step": 48, "duration": 48, "velocity": 32}}, "was trained with other bins .*'step': 48"),
        ({"preset": "baseline"}, r"holds unknown keys \['attributes', 'bins'\]"),
        ({"settings": {"window": 25}}, "unknown setting window"),
        ({"settings": {"hidden": 8}}, "is damaged"),
        ({"version": 3}, "has version 3, this emoray reads 2"),
    ],
)
def test_an_expressive_checkpoint_that_means_something_else_is_refused(expressive, changes, message):
    folder = expressive[0]
    rewritten(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_an_expressive_checkpoint_must_say_what_it_was_told(expressive):
    folder = expressive[0]
    config = json.loads((folder / "config.json").read_text())
    del config["attributes"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"has a broken config.json \('attributes'\)"):
        load_checkpoint(folder)


def test_the_seed_checkpoint_that_ships_is_written_again_byte_for_byte(tmp_path):
    folder = PRETRAINED_DEFAULT.with_name("baseline")
    loaded = load_checkpoint(folder)
    assert (loaded.preset_name, loaded.sounding, loaded.attributes) == ("baseline", False, ())
    assert loaded.guidance == "original-tempered"
    save_checkpoint(
        tmp_path, network=loaded.network, preset=loaded.preset, clusters=loaded.clusters,
        metrics=loaded.metrics, card=(folder / "README.md").read_text(),
    )  # fmt: skip
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_load_gives_back_what_was_saved(saved):
    folder, network = saved
    loaded = load_checkpoint(folder)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)
    assert (loaded.preset, loaded.clusters, loaded.metrics) == (PRESET, CLUSTERS, {"epochs": 3})
    assert "pitch_nll | 3.5" in (folder / "README.md").read_text()


def test_the_fingerprint_tells_any_change_that_music_depends_on(saved):
    folder, network = saved
    before = load_checkpoint(folder).fingerprint
    (folder / "metrics.json").write_text("{}")
    assert load_checkpoint(folder).fingerprint == before
    with torch.no_grad():
        network.step.bias += 1e-3
    save_checkpoint(folder, network=network, preset=PRESET, clusters=CLUSTERS, metrics={}, card="")
    assert load_checkpoint(folder).fingerprint != before


def test_no_file_of_a_checkpoint_is_a_pickle(saved):
    folder, _ = saved
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "emotion.json", "metrics.json", "weights.safetensors",
    ]  # fmt: skip
    for path in folder.iterdir():
        assert b"\x80\x04" not in path.read_bytes()[:2], path.name


def rewritten(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 3}, "has version 3, this emoray reads 2; run `emoray train` again"),
        ({"preset": "grand"}, "has the unknown preset 'grand'"),
        ({"colour": "red"}, r"holds unknown keys \['colour'\]"),
        ({"settings": {"widow": 25}}, "unknown setting widow"),
        ({"settings": {"window": -1}}, "window: must be a positive number"),
        ({"settings": {"hidden": 9}}, "is damaged"),
        ({"settings": None}, "has a broken config.json"),
    ],
)
def test_a_checkpoint_from_elsewhere_is_refused_with_its_remedy(saved, changes, message):
    folder, _ = saved
    rewritten(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "emotion.json", "metrics.json", "config.json"])
def test_a_damaged_or_missing_file_is_refused(saved, name):
    folder, _ = saved
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2] if name != "metrics.json" else b"{")
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)


def test_a_folder_that_is_no_checkpoint_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(CheckpointError, match=r"is not a checkpoint .* make one with `emoray train`"):
        load_checkpoint(tmp_path)


def test_a_baseline_card_has_figures_settings_licence_and_limits():
    card = model_card(BaselinePreset(window=30), {"validation_pitch_nll": 3.71234567}, origin="Trained here.")
    assert card.startswith("# emoray checkpoint, preset baseline\n")
    assert "from the 30 notes\nbefore it" in card
    for line in ("| validation_pitch_nll | 3.7123 |", "| window | 30 |", "Trained here."):
        assert f"\n{line}\n" in card
    assert "carry the licence of the music" in card
    assert "\nLimits: the emotion is heard in tempo" in card


def test_an_expressive_card_names_its_condition_and_its_limits():
    preset = ExpressivePreset(hidden=99, lookahead=33)
    card = model_card(preset, {"validation_conditional_loss": 8.0}, origin="Trained here.")
    assert card.startswith("# emoray checkpoint, preset expressive\n")
    assert "2 layers of 99" in card
    assert "profile, onset_rate, duration, register, velocity\nof the 33 notes to come" in card
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


def test_an_emotion_model_of_other_durations_is_refused(tmp_path):
    """An expressive network reads sounding durations; clusters of key-down ones say nothing of them."""
    save_checkpoint(
        tmp_path,
        network=ExpressiveNetwork(EXPRESSIVE),
        preset=EXPRESSIVE,
        clusters=CLUSTERS,
        metrics={},
        card="",
    )
    with pytest.raises(
        CheckpointError,
        match=r"fitted on key-down durations.* reads sounding ones; run `emoray cluster --preset exp",
    ):
        load_checkpoint(tmp_path)


def test_a_checkpoint_of_version_1_is_refused_with_its_remedy(saved):
    folder, _ = saved
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"version": 1}))
    with pytest.raises(CheckpointError, match="has version 1, this emoray reads 2; run `emoray train` again"):
        load_checkpoint(folder)
