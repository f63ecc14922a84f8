"""Requests: what the one schema takes, refuses and derives; the prompt; the result."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from emoray.errors import RequestError
from emoray.notes import as_notes
from emoray.request import (
    DEFAULT_NOTES,
    MOST_NOTES,
    REQUEST_OPTIONS,
    File,
    GenerationRequest,
    Prompt,
    Result,
    checked_options,
)  # fmt: skip

SEED = as_notes([0.0], [1.0], [60], [64])


def request(**fields: object) -> GenerationRequest:
    return GenerationRequest(**{"seed": File("a.mid", b"MThd"), "emotion": 0.5} | fields)


def random_seed(**fields: object) -> int:
    return request(**fields).derived_random_seed()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"seed": None}, "seed: is missing; give the seed music"),
        ({"emotion": None}, "emotion: is missing, and so is an image; give one of them"),
        ({"emotion": "joyful"}, "emotion: 'joyful' is not an emotion; write happy"),
        ({"curve": "[[5, 1], [3, 1]]"}, "curve: goes from 5 to 3 seconds"),
        ({"notes": "4_0"}, "notes: must be a whole number from 1 to 20000, got 4_0"),
        ({"notes": 40.5}, "notes: must be a whole number from 1 to 20000, got 40.5"),
        ({"seconds": math.nan}, "seconds: must be a number from 0.1 to 3600.0, got nan"),
        ({"strength": True}, "strength: must be a number from 0 to 10, got True"),
        ({"strength": "1e999"}, "strength: must be a number from 0 to 10, got 1e999"),
        ({"guidance": "louder"}, "guidance: louder is unknown; choose none, original, "),
        ({"without_seed": "perhaps"}, "without_seed: must be true or false, got perhaps"),
        ({"id": "../x"}, "id: must be 1 to 128 of A-Z a-z 0-9 . _ - and neither . nor .., got ../x"),
        ({"image": "a\0.png"}, r"image: must be a path, got 'a\x00.png'"),
        ({"temprature": 1}, "temprature: is no option; known are id, seed, image, emotion,"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_remedy(fields, reason):
    with pytest.raises(RequestError) as caught:
        request(**fields)
    assert str(caught.value).startswith(reason)


def test_numbers_may_be_text_and_none_is_left_out():
    asked = request(notes="40", seconds="2.5", strength=None, without_seed="true", id=7)
    assert (asked.notes, asked.seconds, asked.strength, asked.without_seed) == (40, 2.5, 1.0, True)
    assert asked.asked.keys() == {"id", "seed", "emotion", "notes", "seconds", "without_seed"}
    assert asked.id == "7"


def test_a_words_arousal_is_implied_unless_one_is_given():
    calm, excited = request(emotion="calm"), request(emotion="calm", arousal=0.5)
    assert (calm.emotion, calm.arousal) == (1.0, -1.0)
    assert (excited.emotion, excited.arousal) == (1.0, 0.5)


def test_a_curve_is_a_list_or_its_json():
    points = [[0, -1], [20, 1, 0.5]]
    assert request(curve=points).curve == request(curve=str(points)).curve == ((0, -1, -1), (20, 1, 0.5))


def test_a_request_cannot_be_changed_and_survives_pickling():
    asked = request(image=File("me.png", b"face"))
    with pytest.raises(Exception, match="frozen"):
        asked.notes = 3
    twin = pickle.loads(pickle.dumps(asked))
    assert twin == asked
    assert twin.asked == asked.asked


def test_no_text_about_a_request_shows_its_files():
    assert "MThd" not in repr(request())
    assert "MThd" not in str(request())


def test_defaults_of_a_run_are_for_fields_that_were_left_out():
    asked = request(strength=0.5).with_defaults(strength=2.0, guidance="none")
    assert (asked.strength, asked.guidance) == (0.5, "none")


def test_the_derived_random_seed_follows_from_content_and_from_nothing_else():
    assert random_seed() == 3_468_539_270  # on any machine
    same = [
        random_seed(id="other", seed=File("elsewhere.mid", b"MThd")),
        random_seed(notes=7, strength=0, guidance="none", temperature=1, top_p=0.5, transpose=5),
        random_seed(without_seed=True),
    ]
    assert same == [random_seed()] * 3
    others = [
        random_seed(seed=File("a.mid", b"RIFF")),
        random_seed(image=File("me.png", b"face")),
        random_seed(image=File("me.png", b"mask")),
        random_seed(emotion=-0.5),
        random_seed(arousal=0.5),
        random_seed(curve=[[0, 1]]),
    ]
    assert len({random_seed(), *others}) == 7
    assert random_seed(emotion="0") == random_seed(emotion=-0.0)


def test_every_option_says_what_it_is_and_gives_an_example_that_it_takes():
    for name, option in REQUEST_OPTIONS.items():
        assert option.help.endswith((".", "].")), name
        request(**{name: option.example})


def test_some_options_can_be_checked_alone():
    assert checked_options(strength="2", guidance=None) == {"strength": 2.0, "guidance": None}
    with pytest.raises(RequestError, match="strength: must be a number"):
        checked_options(strength="loud")


@pytest.mark.parametrize(
    ("field", "value"),
    [("valence", math.nan), ("strength", -0.1), ("notes", 0), ("seconds", math.inf), ("temperature", -1)],
)
def test_a_prompt_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(RequestError, match=f"{field.replace('valence', 'emotion')}: must be a"):
        Prompt(**({"seed": SEED, "valence": 0.0} | {field: value}))


def test_a_prompt_with_an_unknown_guidance_or_an_empty_seed_is_refused():
    with pytest.raises(RequestError, match="magic is unknown; choose none, original, original-tempered"):
        Prompt(seed=SEED, valence=1.0, guidance="magic")
    with pytest.raises(RequestError, match="holds no notes"):
        Prompt(seed=np.empty(0, SEED.dtype), valence=1.0)


def test_a_length_is_notes_or_seconds_or_the_original_systems_120_notes():
    assert Prompt(seed=SEED, valence=1.0).length == (DEFAULT_NOTES, math.inf) == (120, math.inf)
    assert Prompt(seed=SEED, valence=1.0, notes=7).length == (7, math.inf)
    assert Prompt(seed=SEED, valence=1.0, seconds=3).length == (MOST_NOTES, 3)
    assert Prompt(seed=SEED, valence=1.0, notes=7, seconds=3).length == (7, 3)


def test_a_failed_result_can_be_raised_again():
    error = Result(id="a", error="seed: holds no notes; give music: at least one note").failure()
    assert (error.subject, error.reason) == ("seed", "holds no notes; give music: at least one note")
