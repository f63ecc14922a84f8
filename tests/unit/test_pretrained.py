"""Promises of the checkpoint that ships with emoray."""

import numpy as np
import pytest

from emoray.compose.decoding import BatchDecoder
from emoray.config import GUIDANCE_MODES
from emoray.dataset.keys import majorness, pitch_classes
from emoray.demo.pieces import pieces
from emoray.model.checkpoint import load_checkpoint
from emoray.model.preset import PRETRAINED
from emoray.notes import HIGHEST_KEY, LOWEST_KEY, steps
from emoray.request import Prompt

pytestmark = pytest.mark.checkpoint


@pytest.fixture(scope="module")
def composer():
    return BatchDecoder(load_checkpoint())


@pytest.fixture(scope="module")
def baseline():
    return BatchDecoder(load_checkpoint(PRETRAINED / "baseline"))


def requests(valence, **options):
    """Every demo piece's first 40 notes, four times over with other random seeds."""
    seeds = [piece.notes[:40] for piece in pieces()]
    return [
        Prompt(
            seed=seed,
            valence=valence,
            random_seed=100 * turn + number,
            **{"notes": 60, "guidance": "cfg"} | options,
        )
        for turn in range(4)
        for number, seed in enumerate(seeds)
    ]


@pytest.mark.parametrize("mode", ["original", "original-tempered"])
def test_sad_is_slower_and_longer_than_happy_in_the_seed_documents_modes(baseline, mode):
    happy, sad = (baseline.compose(requests(valence, guidance=mode)) for valence in (1.0, -1.0))
    step = [np.log(steps(s)[1:].mean() / steps(h)[1:].mean()) for h, s in zip(happy, sad, strict=True)]
    duration = [np.log(s["duration"].mean() / h["duration"].mean()) for h, s in zip(happy, sad, strict=True)]
    assert np.mean(step) > 0.05
    assert np.mean(duration) > 0.05


@pytest.mark.parametrize("mode", GUIDANCE_MODES)
def test_the_shipped_network_repeats_itself_byte_for_byte(composer, mode):
    batch = requests(1.0, guidance=mode)[:6]
    again = composer.compose(batch[::-1])[::-1]
    for one, other in zip(composer.compose(batch), again, strict=True):
        assert one.tobytes() == other.tobytes()


def test_happy_is_faster_and_more_major_than_sad_from_nearly_every_seed(composer):
    happy, sad = (composer.compose(requests(valence)[:15]) for valence in (1.0, -1.0))
    faster = [
        h["onset"][-1] - h["onset"][0] < s["onset"][-1] - s["onset"][0]
        for h, s in zip(happy, sad, strict=True)
    ]
    mode = [[float(majorness(pitch_classes(notes["pitch"]))) for notes in some] for some in (happy, sad)]
    assert np.mean(faster) > 0.8
    assert np.mean(np.array(mode[0]) > np.array(mode[1])) > 0.8


def test_no_pitch_lies_off_the_piano(composer):
    for notes in composer.compose(requests(-1.0)):
        assert notes["pitch"].min() >= LOWEST_KEY
        assert notes["pitch"].max() <= HIGHEST_KEY


@pytest.mark.parametrize("preset", ["baseline", "expressive"])
def test_the_card_names_the_licence_of_its_data_and_its_figures(preset):
    card = (PRETRAINED / preset / "README.md").read_text()
    assert "CC BY-NC-SA 4.0" in card
    assert "pitch_nll" in card
    assert "Limits" in card


@pytest.mark.parametrize(("preset", "durations"), [("baseline", "key-down"), ("expressive", "sounding")])
def test_emotion_models_know_no_label_that_the_judges_are_fitted_on(preset, durations):
    """44 of the 90 phrases are kept for guidance; clusters are of the durations that the network reads."""
    clusters = load_checkpoint(PRETRAINED / preset).clusters
    assert clusters.evidence["pieces"] == 44
    assert clusters.evidence["anchored"]
    assert clusters.durations == durations
