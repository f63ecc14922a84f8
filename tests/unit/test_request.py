"""Items: what becomes of the fields of a manifest row or a POST."""

from __future__ import annotations

import pytest

from emoray.emotion import Evidence
from emoray.errors import FaceError, RequestError
from emoray.notes import Notes, as_notes
from emoray.request import GenerationRequest, prompt_of, random_seed_of, valence_of

HAPPY = Evidence(status="ok", label=1, valence=0.7)
UNSURE = Evidence(
    status="low_confidence", label=0, valence=0.05, reason="shows no clear emotion; use another"
)


def seed() -> Notes:
    return as_notes([0.0, 0.5], [0.4, 0.4], [60, 64], [80, 80])


def test_a_picture_with_a_label_beats_the_emotion_that_was_asked_for():
    assert valence_of(GenerationRequest(id="a", seed=b"", valence=-0.5), HAPPY) == 1.0


def test_the_emotion_is_the_fallback_of_a_picture_without_a_label():
    assert valence_of(GenerationRequest(id="a", seed=b"", valence=-0.5), UNSURE) == -0.5


def test_a_picture_that_abstains_is_not_a_label():
    abstained = Evidence(status="ok", label=0, valence=0.0)
    assert valence_of(GenerationRequest(id="a", seed=b"", valence=-0.5), abstained) == -0.5


def test_without_a_fallback_the_pictures_reason_is_the_error():
    item = GenerationRequest(id="a", seed=b"", picture=b"x", picture_name="me.png")
    with pytest.raises(FaceError, match=r"me\.png: shows no clear emotion.*as a fallback"):
        valence_of(item, UNSURE)


def test_an_item_with_neither_picture_nor_emotion_is_refused_by_its_id():
    with pytest.raises(RequestError, match="row-7: has neither an image nor an emotion"):
        valence_of(GenerationRequest(id="row-7", seed=b""), None)


def test_an_emotion_of_zero_is_an_emotion():
    assert valence_of(GenerationRequest(id="a", seed=b"", valence=0.0), None) == 0.0


def test_the_same_id_has_the_same_random_seed_on_any_machine():
    assert random_seed_of("row-1") == 2_184_181_433
    assert random_seed_of("row-1") != random_seed_of("row-2")


def test_a_request_takes_over_what_the_item_says():
    item = GenerationRequest(
        id="a", seed=b"", valence=0.5, notes=7, seconds=3.0, temperature=0.9, strength=2.0
    )
    request = prompt_of(item, seed(), None, guidance="none")
    assert (request.notes, request.seconds, request.temperature, request.strength) == (7, 3.0, 0.9, 2.0)
    assert (request.guidance, request.random_seed) == ("none", random_seed_of("a"))


def test_an_items_own_guidance_and_random_seed_count():
    item = GenerationRequest(id="a", seed=b"", valence=0.5, guidance="original-literal", random_seed=0)
    request = prompt_of(item, seed(), None, guidance="none")
    assert (request.guidance, request.random_seed) == ("original-literal", 0)


def test_a_number_out_of_range_is_refused_by_its_name():
    with pytest.raises(RequestError, match="strength: must lie in"):
        prompt_of(
            GenerationRequest(id="a", seed=b"", valence=0.5, strength=-1.0), seed(), None, guidance="none"
        )


def test_a_curve_counts_instead_of_picture_and_emotion():
    item = GenerationRequest(id="a", seed=b"", valence=0.5, curve=((0.0, -1.0, 0.0), (9.0, 1.0, 1.0)))
    request = prompt_of(item, seed(), HAPPY, guidance="none")
    assert request.emotion_at(0.0) == (-1.0, 0.0)
    assert request.emotion_at(9.0) == (1.0, 1.0)


def test_arousal_is_the_valence_unless_it_is_given():
    alike = prompt_of(GenerationRequest(id="a", seed=b"", valence=0.5), seed(), None, guidance="none")
    calm = prompt_of(
        GenerationRequest(id="a", seed=b"", valence=0.5, arousal=-1.0, top_p=0.5),
        seed(),
        HAPPY,
        guidance="none",
    )
    assert alike.emotion_at(3.0) == (0.5, 0.5)
    assert calm.emotion_at(3.0) == (1.0, -1.0)
    assert calm.top_p == 0.5
