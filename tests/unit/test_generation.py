"""Answer: items in, as many results out, with readers and a composer made here."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pretty_midi
import pytest

from emoray.config import Prompt
from emoray.emotion import Evidence
from emoray.errors import MidiError, RequestError
from emoray.generation import answered, generate_results
from emoray.notes import Notes, as_notes
from emoray.request import GenerationRequest, Result

SEED = as_notes([0.0, 0.5, 1.0], [0.4] * 3, [60, 62, 64], [80] * 3)


def faces(pictures: Sequence[bytes]) -> list[Evidence]:
    """b"happy" and b"sad" are faces, anything else holds none."""
    labels = {b"happy": 1, b"sad": -1}
    return [
        Evidence(status="ok", label=labels[one], valence=0.8 * labels[one], faces=1, backend="fake")
        if one in labels
        else Evidence(status="no_face", reason="holds no face; use another", backend="fake")
        for one in pictures
    ]


def seeds(item: GenerationRequest) -> Notes:
    if item.seed != b"good":
        raise MidiError(item.seed_name, "is not MIDI; export it again")
    return SEED


def two_notes(requests: Sequence[Prompt]) -> list[Notes]:
    """Two notes after the seed; the first one's pitch is the random seed."""
    return [as_notes([1.5, 2.0], [0.4, 0.4], [one.random_seed, 72], [80, 80]) for one in requests]


def results_of(*items: GenerationRequest) -> list[Result]:
    return generate_results(items, read_faces=faces, read_seed=seeds, compose=two_notes, guidance="none")


def pitches(result: Result) -> list[int]:
    assert result.midi is not None
    (piano,) = pretty_midi.PrettyMIDI(io.BytesIO(result.midi)).instruments
    return [note.pitch for note in sorted(piano.notes, key=lambda note: note.start)]


def item(name: str, **fields: object) -> GenerationRequest:
    return GenerationRequest(**{"id": name, "seed": b"good", "valence": 1.0, "random_seed": 65} | fields)  # type: ignore[arg-type]


def test_the_music_begins_with_the_seed_and_goes_on_with_what_was_composed():
    (result,) = results_of(item("a"))
    assert pitches(result) == [60, 62, 64, 65, 72]
    assert (result.seed_notes, result.notes, result.status, result.label) == (3, 2, "ok", 1)


def test_the_seed_is_left_out_on_request():
    (result,) = results_of(item("a", without_seed=True))
    assert pitches(result) == [65, 72]
    assert (result.seed_notes, result.notes) == (0, 2)


def test_bad_items_fail_alone_and_results_keep_the_order():
    results = results_of(
        item("a", random_seed=61),
        item("b", seed=b"bad"),
        item("c", random_seed=63),
        item("d", valence=None),
        item("e", picture=b"landscape", valence=None),
        item("f", random_seed=66, picture=b"sad"),
    )
    assert [result.id for result in results] == list("abcdef")
    assert [result.status for result in results] == ["ok", "failed", "ok", "failed", "failed", "ok"]
    assert [pitches(result)[3] for result in results if result.midi] == [61, 63, 66]
    assert results[1].error == "seed: is not MIDI; export it again"
    assert "neither an image nor an emotion" in (results[3].error or "")


def test_a_result_says_what_was_seen_even_if_the_item_failed():
    happy, nobody = results_of(item("a", picture=b"happy"), item("b", picture=b"tree", valence=None))
    assert (happy.image_status, happy.faces, happy.backend, happy.label) == ("ok", 1, "fake", 1)
    assert happy.valence == pytest.approx(0.8)
    assert (nobody.image_status, nobody.backend, nobody.midi) == ("no_face", "fake", None)


def test_a_picture_without_a_face_falls_back_to_the_emotion():
    (result,) = results_of(item("a", picture=b"tree", valence=-0.25))
    assert (result.status, result.label, result.valence) == ("ok", -1, -0.25)
    assert result.image_status == "no_face"


def test_no_items_give_no_results():
    assert results_of() == []


def test_composed_notes_follow_the_seed_on_one_timeline():
    (result,) = results_of(item("a"))
    assert result.midi is not None
    (piano,) = pretty_midi.PrettyMIDI(io.BytesIO(result.midi)).instruments
    np.testing.assert_allclose(
        sorted(note.start for note in piano.notes), [0.0, 0.5, 1.0, 1.5, 2.0], atol=1e-3
    )


def test_the_ledger_shows_the_valence_that_was_composed_with():
    """A picture that abstains has a valence too, but the fallback's is what was heard."""
    seed = as_notes([0.0], [1.0], [60], [64])
    request = Prompt(seed=seed, valence=-0.5)
    item = GenerationRequest(id="a", seed=b"", picture=b"", valence=-0.5)
    unsure = Evidence(status="low_confidence", label=0, valence=0.05, faces=1, backend="fer")
    result = answered(item, request, seed, unsure)
    assert (result.label, result.valence, result.image_status) == (-1, -0.5, "low_confidence")


def test_a_request_that_the_checkpoint_refuses_fails_alone():
    def compose(requests: Sequence[Prompt]) -> list[Notes]:
        if any(request.arousal is not None for request in requests):
            raise RequestError("arousal", "needs another checkpoint")
        return two_notes(requests)

    items = [item("a"), item("b", arousal=-1.0), item("c")]
    found = generate_results(items, read_faces=faces, read_seed=seeds, compose=compose, guidance="none")
    assert [result.status for result in found] == ["ok", "failed", "ok"]
    assert found[1].error == "arousal: needs another checkpoint"
    assert [pitches(found[place])[-2:] for place in (0, 2)] == [[65, 72]] * 2
