"""The Python API: one or many, from whatever holds music, to the same notes as by any other way."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import emoray
from emoray.compose.decoding import BatchDecoder
from emoray.errors import CheckpointError, ConfigError, FaceError, MidiError, RequestError
from emoray.model.checkpoint import load_checkpoint
from emoray.model.preset import PRETRAINED
from emoray.notes import as_notes
from emoray.piece import Piece
from emoray.request import REQUEST_OPTIONS, Prompt
from emoray.writers.midi import midi_bytes

TUNE = as_notes(np.arange(20) * 0.25, [0.2] * 20, 60 + np.arange(20) % 12, [80] * 20)
SHORT = {"notes": 8, "random_seed": 7}


@pytest.fixture(scope="module")
def composer():
    return emoray.load("baseline")


@pytest.fixture
def tune(tmp_path):
    path = tmp_path / "tune.mid"
    path.write_bytes(midi_bytes(TUNE))
    return path


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, emoray\n"
        "dir(emoray), emoray.EmorayError\n"
        "heavy = {'torch', 'ray', 'numpy', 'pyarrow', 'pydantic', 'matplotlib'} & sys.modules.keys()\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_no_other():
    for name in emoray.__all__:
        assert getattr(emoray, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'compose_music'"):
        _ = emoray.compose_music


def test_a_seed_may_be_a_path_a_uri_bytes_notes_or_a_piece(composer, tune):
    sources = [tune, str(tune), f"file://{tune}", tune.read_bytes(), TUNE, Piece(notes=TUNE)]
    composed = [composer.generate(source, emotion="happy", **SHORT) for source in sources]
    assert len({midi_bytes(piece.notes) for piece in composed}) == 1


def test_the_notes_are_those_of_the_decoder(composer):
    """No other route composes: the same prompt, the same notes."""
    loaded = load_checkpoint(PRETRAINED / "baseline")
    prompt = Prompt(seed=TUNE, valence=-1.0, guidance=loaded.guidance, **SHORT)
    [notes] = BatchDecoder(loaded).compose([prompt])
    assert np.array_equal(composer.generate(TUNE, emotion="sad", **SHORT).composed, notes)


def test_a_piece_tells_how_it_came_about(composer):
    piece = composer.generate(TUNE, emotion="calm", arousal=1, **SHORT)
    assert (piece.seed_notes, len(piece.composed), piece.random_seed) == (20, 8, 7)
    assert (piece.emotion_asked, piece.emotion_used, piece.arousal_used) == (1, 1, 1)
    assert (piece.emotion_from, piece.emotion_seen, piece.label) == ("emotion", None, "happy")
    assert piece.guidance == "original-tempered"
    without = composer.generate(TUNE, emotion="happy", without_seed=True, **SHORT)
    assert (without.seed_notes, len(without.notes)) == (0, 8)


def test_without_a_random_seed_the_same_request_gives_the_same_piece(composer, tune):
    first, again = (composer.generate(source, emotion="sad", notes=8) for source in (tune, tune.read_bytes()))
    assert first.random_seed == again.random_seed
    assert np.array_equal(first.notes, again.notes)


def test_a_list_gives_a_list_and_each_piece_is_as_it_would_be_alone(composer):
    rows = [TUNE, {"seed": TUNE, "emotion": "sad"}, {"seed": TUNE[:5], "notes": 3}]
    pieces = composer.generate(rows, emotion="happy", **SHORT)
    assert [piece.label for piece in pieces] == ["happy", "sad", "happy"]
    assert [len(piece.composed) for piece in pieces] == [8, 8, 3]
    assert np.array_equal(pieces[1].notes, composer.generate(TUNE, emotion="sad", **SHORT).notes)
    assert composer.generate([], emotion="happy") == []


def test_errors_are_raised_or_returned_in_their_place(composer, tmp_path):
    (tmp_path / "text.mid").write_text("MThd no music")
    rows = [tmp_path / "none.mid", TUNE, tmp_path / "text.mid", {"seed": TUNE, "notes": 0}]
    found = composer.generate(rows, emotion="happy", errors="return", **SHORT)
    assert [type(one) for one in found] == [ConfigError, Piece, RequestError, RequestError]
    with pytest.raises(ConfigError, match=r"none\.mid: cannot be read"):
        composer.generate(rows, emotion="happy", **SHORT)
    with pytest.raises(RequestError, match="errors: 'ignore' is unknown; choose raise or return"):
        composer.generate(TUNE, emotion="happy", errors="ignore")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"emotion": "joyful"}, "emotion"),
        ({}, "emotion"),
        ({"emotion": "sad", "loudness": 3}, "loudness.*is no option"),
        ({"emotion": "sad", "notes": 0}, "notes"),
        ({"emotion": "sad", "guidance": "cfg"}, "guidance"),
        ({"emotion": "sad", "image": 3}, "image: must be a path, bytes or music, got int"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_name(composer, options, message):
    with pytest.raises(RequestError, match=message):
        composer.generate(TUNE, **options)


def test_a_picture_without_a_face_is_refused_unless_there_is_an_emotion(tmp_path):
    import cv2

    composer = emoray.load("baseline", faces="fer-mini")
    grey = cv2.imencode(".png", np.full((200, 200, 3), 128, np.uint8))[1].tobytes()
    with pytest.raises((FaceError, RequestError), match="or give an emotion as a fallback"):
        composer.generate(TUNE, image=grey, **SHORT)
    piece = composer.generate(TUNE, image=grey, emotion="sad", **SHORT)
    assert (piece.emotion_from, piece.image_status, piece.label) == ("emotion", "no_face", "sad")
    assert piece.face_model.startswith("fer-mini")


def test_a_piece_can_go_on(composer):
    first = composer.generate(TUNE, emotion="happy", **SHORT)
    longer = composer.generate(first, emotion="sad", **SHORT)
    assert np.array_equal(longer.notes[: longer.seed_notes], first.notes)


def test_the_signature_has_every_option_of_a_request():
    parameters = inspect.signature(emoray.Composer.generate).parameters
    options = [*REQUEST_OPTIONS][2:]  # without id and seed
    assert list(parameters) == ["self", "seed", *options, "errors"]
    for name in options:
        assert parameters[name].default == REQUEST_OPTIONS[name].default
        assert f"{name}: {REQUEST_OPTIONS[name].help}" in emoray.Composer.generate.__doc__


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        emoray.load(tmp_path)


def test_damaged_midi_is_an_error_of_its_own(composer, tmp_path):
    with pytest.raises((MidiError, RequestError), match="seed"):
        composer.generate(b"MThd no music", emotion="sad")
