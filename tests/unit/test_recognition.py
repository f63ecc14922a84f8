"""Files are read by their content; the emotion of music is told by clusters, key and map."""

import numpy as np
import pytest

from emoray.demo.files import portrait
from emoray.demo.pieces import pieces
from emoray.errors import ConfigError, MidiError, RequestError
from emoray.notes import as_notes
from emoray.piece import Piece
from emoray.recognition import MUSIC_EVIDENCE, emotion_of, read_emotion, read_notes
from emoray.writers.audio import wav_bytes
from emoray.writers.midi import midi_bytes

MAJOR, MINOR = (0, 4, 7, 12, 5, 9, 12, 7, 11, 2, 7), (0, 3, 7, 12, 5, 8, 12, 7, 11, 2, 7)
PIECES = {piece.name: piece for piece in pieces()}


def music(scale, step, velocity=80):
    """80 notes on C, some louder than others."""
    pitch = [60 + scale[number % len(scale)] for number in range(80)]
    return as_notes(np.arange(80) * step, [step * 0.9] * 80, pitch, [velocity, velocity + 2] * 40)


def test_notes_are_read_from_a_path_a_uri_or_bytes(tmp_path):
    data = midi_bytes(music(MAJOR, 0.25))
    (tmp_path / "a.mid").write_bytes(data)
    for source in (data, tmp_path / "a.mid", str(tmp_path / "a.mid"), f"file://{tmp_path}/a.mid"):
        assert len(read_notes(source)) == 80


def test_what_cannot_be_read_names_itself(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.mid: cannot be read"):
        read_notes(tmp_path / "none.mid")
    (tmp_path / "bad.mid").write_bytes(b"MThd, and no more")
    with pytest.raises(MidiError, match=r"bad\.mid"):
        read_notes(tmp_path / "bad.mid")
    with pytest.raises(RequestError, match="music: is empty"):
        read_notes(b"")


def test_major_is_happier_than_minor_on_the_same_notes_otherwise():
    major, minor = emotion_of(music(MAJOR, 0.25)), emotion_of(music(MINOR, 0.25))
    assert (major.key, minor.key) == ("C major", "C minor")
    assert major.valence > 0 > minor.valence
    assert major.evidence["mode"] > minor.evidence["mode"]


def test_fast_and_loud_is_more_excited_than_slow_and_soft():
    fast, slow = emotion_of(music(MAJOR, 0.08, 100)), emotion_of(music(MAJOR, 0.8, 40))
    assert fast.arousal > 0 > slow.arousal
    assert (fast.cluster, slow.cluster) == ("happy", "sad")
    assert fast.evidence["emotion_score"] > 0.5 > slow.evidence["emotion_score"]


def test_a_velocity_that_never_changes_says_nothing_of_arousal():
    notes = music(MAJOR, 0.25)
    loud, soft = notes.copy(), notes.copy()
    loud["velocity"], soft["velocity"] = 120, 30
    assert emotion_of(loud).arousal == emotion_of(soft).arousal


@pytest.mark.parametrize("name", PIECES)
def test_every_estimate_is_in_its_range_and_explained(name):
    found = emotion_of(PIECES[name].notes)
    assert -1 <= found.valence <= 1
    assert -1 <= found.arousal <= 1
    assert 0 <= found.confidence <= 1
    assert 0 <= found.evidence["emotion_score"] <= 1
    assert found.evidence.keys() == MUSIC_EVIDENCE.keys()


def test_music_is_told_alike_whichever_way_it_came_in(tmp_path):
    notes = read_notes(midi_bytes(music(MINOR, 0.25)))
    told = [emotion_of(source) for source in (notes, Piece(notes=notes), midi_bytes(notes))]
    assert told[0] == told[1]
    assert told[0].valence == pytest.approx(told[2].valence)


def test_a_recording_is_music():
    heard = emotion_of(wav_bytes(PIECES["ode_to_joy"].melody[:12]))
    assert heard.kind == "music"
    assert heard.evidence["notes"] > 0


def test_a_picture_has_a_valence_and_no_key():
    picture = portrait()
    if picture is None:
        pytest.skip("this matplotlib ships no photograph")
    found = emotion_of(picture, faces="fer-mini")
    assert (found.kind, found.arousal, found.cluster, found.key) == ("picture", None, None, None)
    assert found.valence == read_emotion(picture.read_bytes(), faces="fer-mini").valence
    assert found.evidence["faces"] == 1


def test_a_picture_without_a_face_is_no_error():
    import cv2

    grey = cv2.imencode(".png", np.full((200, 200, 3), 128, np.uint8))[1].tobytes()
    found = emotion_of(grey, faces="fer-mini")
    assert (found.valence, found.confidence, found.evidence["status"]) == (None, None, "no_face")


def test_one_note_is_enough():
    found = emotion_of(as_notes([0.0], [0.5], [60], [64]))
    assert found.evidence["notes"] == 1
