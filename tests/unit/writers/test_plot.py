import io

import numpy as np
from matplotlib.image import imread

from emoray.dataset.clusters import FEATURES
from emoray.notes import as_notes
from emoray.writers.plot import BLUE, VERMILION, cluster_picture, loss_curves, piano_roll

NOTES = as_notes(np.arange(20) * 0.5, [0.4] * 20, 60 + np.arange(20), [127] * 20)


def share_of(colour, png):
    """How much of a picture has exactly this colour."""
    pixels = (imread(io.BytesIO(png))[:, :, :3] * 255).round().astype(int)
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return float((np.abs(pixels - wanted).max(axis=2) <= 2).mean())


def test_seed_and_composed_notes_have_different_colours():
    both = piano_roll(NOTES, seed_notes=10, title="a tune")
    assert share_of(BLUE, both) > 0.002
    assert share_of(VERMILION, both) > 0.002
    assert share_of(BLUE, piano_roll(NOTES)) == 0


def test_the_same_notes_make_the_same_picture():
    assert piano_roll(NOTES, seed_notes=3) == piano_roll(NOTES, seed_notes=3)


def test_one_note_and_an_hour_of_notes_can_be_drawn():
    assert piano_roll(NOTES[:1]).startswith(b"\x89PNG")
    hour = as_notes([0.0, 3600.0], [1, 1], [21, 108], [1, 127])
    assert imread(io.BytesIO(piano_roll(hour))).shape[1] < 4000


def test_curves_are_drawn_even_where_an_epoch_lacks_a_figure():
    epochs = [
        {"epoch": 1, "train_loss": 2.0},
        {"epoch": 2, "validation_loss": 1.0, "validation_pitch_nll": 4.0},
    ]
    assert share_of(BLUE, loss_curves(epochs)) > 0
    assert loss_curves([]).startswith(b"\x89PNG")


def test_both_clusters_are_drawn_in_their_colours():
    generator = np.random.default_rng(0)
    features = np.concatenate([generator.normal(-2, 1, (50, 9)), generator.normal(2, 1, (50, 9))])
    picture = cluster_picture(
        features, np.repeat([0, 1], 50), [[-2.0] * 9, [2.0] * 9], FEATURES, ("sad", "happy")
    )
    assert share_of(BLUE, picture) > 0
    assert share_of(VERMILION, picture) > 0
