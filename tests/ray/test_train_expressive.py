"""Training promises of the expressive preset, on a small corpus and a tiny network, with real Ray."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tunes import PRESET, run_of

from emoray.dataset.corpus import piece_lengths
from emoray.errors import CorpusError
from emoray.model.checkpoint import load_checkpoint
from emoray.pipeline.training import TrainSettings, check_notes, train

pytestmark = pytest.mark.ray
BRIEF = replace(
    PRESET, epoch_spans=32, epochs=1_000_000, warmup=1, decay=1.0, learning_rate=1e-30, weight_decay=0.0
)


@pytest.fixture(scope="module")
def brief(undisturbed, tunes, tmp_path_factory):
    """One worker goes on from those weights for three seconds; its learning rate changes next to nothing."""
    run = run_of(tmp_path_factory.mktemp("runs") / "brief", tunes)
    settings = TrainSettings(cpus_per_worker=1, start=undisturbed[0].path, max_minutes=0.05, half=True)
    return run, train(tunes / "corpus", run, BRIEF, settings)


def test_a_run_folder_is_an_expressive_checkpoint_with_nats_of_each_part(undisturbed):
    run, standing = undisturbed
    first, last = standing.history[0], standing.history[-1]
    parts = [last[f"validation_{part}_nats"] for part in ("step", "pitch", "duration", "velocity")]
    assert sum(parts) == pytest.approx(last["validation_loss"])
    assert last["validation_loss"] < first["validation_loss"]
    assert 0 < last["validation_conditional_loss"] != last["validation_loss"]
    assert last["learning_rate"] < first["learning_rate"]
    assert (run.path / "loss.png").read_bytes().startswith(b"\x89PNG")
    loaded = load_checkpoint(run.path)
    assert (loaded.preset_name, loaded.preset) == ("expressive", PRESET)
    card = (run.path / "README.md").read_text()
    assert "validation_conditional_loss" in card
    assert "CC BY-NC-SA 4.0" in card


def test_a_time_limit_shortens_the_plan_and_the_decay_ends_with_it(brief):
    """Far more epochs are asked for than fit: the learning rate falls by the share of the plan that is done.

    By half that share at least, whenever a busy machine runs out of time.
    """
    run, standing = brief
    assert 2 <= standing.planned < 1_000_000
    assert standing.epoch <= standing.planned
    last = standing.history[-1]
    gone = last["epoch"] / last["planned_epochs"]
    assert last["learning_rate"] < BRIEF.learning_rate * (1 - gone / 2)
    assert load_file(run.path / "weights.safetensors")["step.weight"].dtype == torch.float16


def test_training_starts_from_the_weights_of_a_checkpoint(brief, undisturbed):
    """The first epoch is as good as where it started."""
    assert brief[1].history[0]["validation_loss"] == pytest.approx(undisturbed[1].best_loss, rel=1e-3)


def test_a_corpus_is_refused_only_without_two_notes_for_each_worker(tunes):
    assert sorted(piece_lengths(tunes / "corpus", "train"))[:2] == [1, 36]
    check_notes(tunes / "corpus", TrainSettings(workers=9))
    with pytest.raises(CorpusError, match=r"has 9 train pieces .* 10 are needed; .*lower"):
        check_notes(tunes / "corpus", TrainSettings(workers=10))
