import json

import numpy as np
import pytest
import torch

from emoray.config import SeedPreset
from emoray.dataset.clusters import fit_clusters
from emoray.errors import CheckpointError
from emoray.model.card import model_card
from emoray.model.checkpoint import load_checkpoint, save_checkpoint
from emoray.model.network import SeedNetwork

CLUSTERS = fit_clusters(np.random.default_rng(0).lognormal(0, 1, (50, 9)).astype(np.float32), window=6)
PRESET = SeedPreset(window=5, hidden=8)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    network = SeedNetwork(PRESET.hidden)
    card = model_card(PRESET, {"pitch_nll": 3.5}, origin="Trained on my own music.")
    save_checkpoint(
        tmp_path / "run", network=network, preset=PRESET, clusters=CLUSTERS, metrics={"epochs": 3}, card=card
    )
    return tmp_path / "run", network


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
        ({"version": 2}, "has version 2, this emoray reads 1; run `emoray train` again"),
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
