"""Generation: requests in, as many results out, with readers and a decoder made here."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pretty_midi
import pytest

from emoray.emotion import Evidence
from emoray.errors import EmorayError, FaceError, MidiError, RequestError
from emoray.generation import generate_results, prompt_of, used_emotion, write
from emoray.notes import Notes, as_notes
from emoray.request import File, GenerationRequest, Prompt, Result

SEED = as_notes([0.0, 0.5, 1.0], [0.4] * 3, [60, 62, 64], [80] * 3)
HAPPY = Evidence(status="ok", label=1, valence=0.7)
UNSURE = Evidence(
    status="low_confidence", label=0, valence=0.05, reason="shows no clear emotion; use another"
)
PICTURE = File("me.png", b"face")


def faces(pictures: Sequence[bytes]) -> list[Evidence]:
    """b"happy" and b"sad" are faces, anything else holds none."""
    labels = {b"happy": 1, b"sad": -1}
    return [
        Evidence(status="ok", label=labels[one], valence=0.8 * labels[one], faces=1, backend="fake")
        if one in labels
        else Evidence(status="no_face", reason="holds no face; use another", backend="fake")
        for one in pictures
    ]


def seeds(file: File) -> Notes:
    if file.content != b"good":
        raise MidiError(file.name, "is not MIDI; export it again")
    return SEED


def two_notes(prompts: Sequence[Prompt]) -> list[Notes]:
    """Two notes after the seed; the first one's pitch is of the random seed."""
    return [as_notes([1.5, 2.0], [0.4, 0.4], [one.random_seed % 128, 72], [80, 80]) for one in prompts]


def results_of(*requests: GenerationRequest) -> list[Result]:
    return generate_results(requests, read_faces=faces, read_seed=seeds, compose=two_notes, guidance="none")


def pitches(result: Result) -> list[int]:
    data = write(result)
    assert data is not None
    (piano,) = pretty_midi.PrettyMIDI(io.BytesIO(data)).instruments
    return [note.pitch for note in sorted(piano.notes, key=lambda note: note.start)]


def request(name: str = "a", **fields: object) -> GenerationRequest:
    usual = {"id": name, "seed": File("seed", b"good"), "emotion": 1.0, "random_seed": 65}
    return GenerationRequest(**usual | fields)


def picture(data: bytes) -> File:
    return File("image", data)


def prompt(asked: GenerationRequest, evidence: Evidence | None = None) -> Prompt:
    found = prompt_of(asked, SEED, evidence, guidance="none")
    assert isinstance(found, Prompt)
    return found


def test_a_picture_with_a_label_counts_and_not_the_emotion_that_was_asked_for():
    assert used_emotion(request(image=PICTURE, emotion=-0.5), HAPPY) == (1.0, "image")


def test_the_emotion_is_the_fallback_of_a_picture_without_a_label():
    abstained = Evidence(status="ok", label=0, valence=0.0)
    for evidence in (UNSURE, abstained):
        assert used_emotion(request(image=PICTURE, emotion=-0.5), evidence) == (-0.5, "emotion")
    assert used_emotion(request(emotion=0.0), None) == (0.0, "emotion")


def test_without_a_fallback_the_pictures_reason_is_the_error():
    with pytest.raises(FaceError, match=r"me\.png: shows no clear emotion.*as a fallback"):
        used_emotion(request(image=PICTURE, emotion=None), UNSURE)


def test_a_prompt_takes_over_what_the_request_says():
    asked = request(notes=7, seconds=3.0, temperature=0.9, strength=2.0, top_p=0.5, random_seed=None)
    made = prompt(asked)
    assert (made.notes, made.seconds, made.temperature, made.strength, made.top_p) == (7, 3, 0.9, 2, 0.5)
    assert (made.guidance, made.random_seed) == ("none", asked.derived_random_seed())
    own = prompt(request(guidance="original-literal", random_seed=0))
    assert (own.guidance, own.random_seed) == ("original-literal", 0)


def test_a_curve_counts_instead_of_picture_and_emotion():
    made = prompt(request(image=PICTURE, curve=((0.0, -1.0, 0.0), (9.0, 1.0, 1.0))), HAPPY)
    assert made.emotion_at(0.0) == (-1.0, 0.0)
    assert made.emotion_at(9.0) == (1.0, 1.0)


def test_arousal_is_the_valence_unless_it_is_given():
    assert prompt(request(emotion=0.5)).emotion_at(3.0) == (0.5, 0.5)
    assert prompt(request(image=PICTURE, arousal=-1.0), HAPPY).emotion_at(3.0) == (1.0, -1.0)


def test_the_music_begins_with_the_seed_and_goes_on_with_what_was_composed():
    (result,) = results_of(request())
    assert pitches(result) == [60, 62, 64, 65, 72]
    assert (result.seed_notes, result.notes, result.status, result.label) == (3, 2, "ok", 1)


def test_the_seed_is_left_out_on_request():
    (result,) = results_of(request(without_seed=True))
    assert pitches(result) == [65, 72]
    assert (result.seed_notes, result.notes) == (0, 2)


@pytest.mark.parametrize(("semitones", "expected"), [(3, [63, 65, 67, 68, 75]), (-24, [36, 38, 40, 41, 48])])
def test_the_whole_piece_is_transposed_seed_and_composed(semitones, expected):
    (result,) = results_of(request(transpose=semitones))
    assert (pitches(result), result.seed_notes) == (expected, 3)


def test_bad_requests_fail_alone_and_results_keep_the_order():
    results = results_of(
        request("a", random_seed=61),
        request("b", seed=File("seed", b"bad")),
        request("c", random_seed=63),
        request("d", image=picture(b"landscape"), emotion=None),
        request("e", random_seed=66, image=picture(b"sad")),
    )
    assert [result.id for result in results] == list("abcde")
    assert [result.status for result in results] == ["ok", "failed", "ok", "failed", "ok"]
    assert [pitches(result)[3] for result in results if result.music is not None] == [61, 63, 66]
    assert results[1].error == "seed: is not MIDI; export it again"
    assert write(results[1]) is None


def test_a_result_says_what_was_seen_even_if_the_request_failed():
    happy, nobody = results_of(
        request("a", image=picture(b"happy")), request("b", image=picture(b"tree"), emotion=None)
    )
    assert (happy.image_status, happy.faces, happy.backend) == ("ok", 1, "fake")
    assert (nobody.image_status, nobody.backend, nobody.music) == ("no_face", "fake", None)


@pytest.mark.parametrize(
    ("fields", "used"),
    [
        ({"image": b"happy", "emotion": None}, ("image", 1, 1.0, 1.0)),
        ({"image": b"happy", "emotion": -0.25}, ("image", 1, 1.0, 1.0)),
        ({"image": b"tree", "emotion": -0.25}, ("emotion", -1, -0.25, -0.25)),
        ({"image": None, "emotion": -0.25, "arousal": 0.5}, ("emotion", -1, -0.25, 0.5)),
        ({"image": b"happy", "curve": [[0, -0.6, 0.1], [9, 1]]}, ("curve", -1, -0.6, 0.1)),
        ({"image": b"sad", "curve": [[5, 0.6]]}, ("curve", 1, 0.6, 0.6)),
    ],
)
def test_label_valence_and_arousal_are_those_that_were_composed_with(fields, used):
    """A picture and a curve together gave the picture's valence and the curve's label."""
    data = fields.pop("image")
    (result,) = results_of(request(image=data and picture(data), **fields))
    assert (result.emotion_from, result.label, result.valence, result.arousal) == used
    assert result.emotion == fields.get("emotion", 1.0)
    seen = {b"happy": (1, 0.8), b"sad": (-1, -0.8)}.get(data, (None, None))
    assert (result.image_label, result.image_valence) == seen


def test_a_result_names_the_random_seed_that_was_used():
    own, derived = results_of(request(random_seed=61), request(random_seed=None, seed=File("x", b"good")))[:2]
    assert own.random_seed == 61
    assert derived.random_seed == request(random_seed=None).derived_random_seed()


def test_no_requests_give_no_results():
    assert results_of() == []


def test_composed_notes_follow_the_seed_on_one_timeline():
    (result,) = results_of(request())
    data = write(result)
    assert data is not None
    (piano,) = pretty_midi.PrettyMIDI(io.BytesIO(data)).instruments
    np.testing.assert_allclose(
        sorted(note.start for note in piano.notes), [0.0, 0.5, 1.0, 1.5, 2.0], atol=1e-3
    )


def test_a_request_that_the_checkpoint_refuses_fails_alone():
    def compose(prompts: Sequence[Prompt]) -> list[Notes]:
        if any(one.arousal is not None for one in prompts):
            raise RequestError("arousal", "needs another checkpoint")
        return two_notes(prompts)

    requests = [request("a"), request("b", arousal=-1.0), request("c")]
    found = generate_results(requests, read_faces=faces, read_seed=seeds, compose=compose, guidance="none")
    assert [result.status for result in found] == ["ok", "failed", "ok"]
    assert found[1].error == "arousal: needs another checkpoint"
    assert [pitches(found[place])[-2:] for place in (0, 2)] == [[65, 72]] * 2


def test_an_error_on_the_way_is_a_value():
    assert isinstance(prompt_of(request(), MidiError("a", "b"), None, guidance="none"), EmorayError)
