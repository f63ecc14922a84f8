"""A sung melody comes back as its notes; what is no melody is refused in one sentence."""

import dataclasses
import io
import wave
from pathlib import Path

import mir_eval
import numpy as np
import pytest
import soundfile

from emoray.config import Limits
from emoray.errors import AudioError
from emoray.readers import melody
from emoray.readers.audio import SAMPLE_RATE, decode_audio, frame_loudness, read_audio, track

VOICES = Path(__file__).parents[4] / "shared" / "data" / "voices"
MELODY = [60, 62, 64, 65, 67, 67, 64, 60]


def sung(pitches, *, length=0.5, vibrato=0.3, sharp=0.0, rate=SAMPLE_RATE, gains=None):
    """[samples] a hum with harmonics, a little vibrato, and a short breath between two notes."""
    time = np.arange(int(rate * length * len(pitches))) / rate
    which = np.minimum((time / length).astype(int), len(pitches) - 1)
    pitch = np.array(pitches, float)[which] + sharp + vibrato * np.sin(2 * np.pi * 5.5 * time)
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((pitch - 69) / 12)) / rate
    within = time % length
    envelope = np.minimum(1, within / 0.02) * np.clip((length - 0.06 - within) / 0.03, 0, 1)
    loud = 1.0 if gains is None else np.array(gains)[which]
    noise = np.random.default_rng(0).normal(size=len(time)) * 1e-3
    return 0.2 * loud * envelope * sum(np.sin(k * phase) / k for k in range(1, 6)) + noise


def file(samples, rate=SAMPLE_RATE, kind="WAV"):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind)
    return buffer.getvalue()


def test_a_sung_melody_comes_back_note_for_note():
    notes = read_audio(file(sung(MELODY)))
    assert notes["pitch"].tolist() == MELODY
    np.testing.assert_allclose(notes["onset"], np.arange(8) * 0.5, atol=0.05)
    np.testing.assert_allclose(notes["duration"], 0.42, atol=0.1)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_every_usual_format_and_rate_gives_the_same_melody(kind):
    stereo = np.stack([sung(MELODY, rate=44_100)] * 2, axis=1)
    assert read_audio(file(stereo, 44_100, kind))["pitch"].tolist() == MELODY


def test_a_singer_who_is_sharp_all_along_is_heard_in_her_own_tuning():
    notes = read_audio(file(sung(MELODY, sharp=0.4, vibrato=0.1)))
    assert notes["pitch"].tolist() == MELODY


def test_a_singer_who_drifts_has_no_tuning_of_her_own():
    scattered = [melody.Segment(first=0, last=50, pitch=60 + k / 8, level=-20) for k in range(8)]
    assert melody.tuning(scattered) == 0


def test_the_louder_note_is_the_faster_key():
    velocity = read_audio(file(sung([60, 64, 67], gains=[0.3, 1, 0.6])))["velocity"]
    assert velocity[0] < velocity[2] < velocity[1]


def test_a_recording_longer_than_one_piece_is_read_without_a_seam():
    notes = read_audio(file(sung(MELODY * 9)))
    assert notes["pitch"].tolist() == MELODY * 9
    np.testing.assert_allclose(notes["onset"], np.arange(72) * 0.5, atol=0.05)


def test_the_same_recording_gives_the_same_notes():
    data = file(sung(MELODY))
    np.testing.assert_array_equal(read_audio(data), read_audio(data))


def test_a_slip_of_an_octave_is_put_back_and_a_leap_of_one_is_kept():
    slip = np.full(200, 60.0)
    slip[90:100] += 12
    assert (melody.without_octave_errors(slip) == 60).all()
    leap = np.repeat([60.0, 72.0], 100)
    np.testing.assert_array_equal(melody.without_octave_errors(leap), leap)


def test_vibrato_is_one_note_and_a_run_is_many():
    loudness, voiced = np.full(100, -20.0), np.ones(100, bool)
    trembling = 60 + 0.6 * np.sin(np.arange(100) * 2 * np.pi * 0.06)
    assert len(melody.segments(trembling, voiced, loudness)) == 1
    run = np.repeat([60.0, 62, 64, 65, 67], 20)
    assert [round(note.pitch) for note in melody.segments(run, voiced, loudness)] == [60, 62, 64, 65, 67]


def test_a_gliding_voice_is_not_steady_and_a_trembling_one_is():
    time = np.arange(300) * melody.FRAME
    voiced = np.ones(300, bool)
    assert melody.steadiness(55 + 4 * np.sin(2 * np.pi * 1.2 * time), voiced) < 0.3
    assert melody.steadiness(55 + 0.5 * np.sin(2 * np.pi * 5.5 * time), voiced) > 0.6
    assert melody.steadiness(np.full(300, 60.0), np.zeros(300, bool)) == 0


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        (np.zeros(SAMPLE_RATE), "is silent; record again"),
        (np.zeros(0), "is silent; record again"),
        (np.random.default_rng(0).normal(size=2 * SAMPLE_RATE) * 0.1, "holds no melody.*sing or hum"),
        (sung([60], length=0.1, vibrato=0), "holds no melody"),
    ],
    ids=["silence", "nothing", "noise", "a blip"],
)
def test_what_is_no_melody_is_refused(samples, match):
    with pytest.raises(AudioError, match=match):
        read_audio(file(samples))


@pytest.mark.parametrize("data", [b"", b"hello there", b"RIFF\x00\x00\x00\x00WAVEfmt ", b"fLaC" + bytes(50)])
def test_what_is_no_recording_is_refused(data):
    with pytest.raises(AudioError, match=r"hum\.wav: is neither MIDI nor a recording .*; convert it to WAV"):
        read_audio(data, subject="hum.wav")


def test_a_recording_cut_short_is_read_as_far_as_it_goes():
    data = file(sung(MELODY))
    assert read_audio(data[: len(data) // 2])["pitch"].tolist()[:3] == MELODY[:3]


def test_too_many_bytes_are_refused():
    with pytest.raises(AudioError, match="larger than 100 bytes"):
        read_audio(file(sung(MELODY)), limits=dataclasses.replace(Limits(), audio_bytes=100))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "MP3"])
def test_of_a_long_recording_the_end_counts(kind):
    data = file(sung(MELODY), kind=kind)
    heard = read_audio(data, limits=dataclasses.replace(Limits(), audio_seconds=1.55))
    assert heard["pitch"].tolist() == MELODY[-3:]
    assert heard["onset"][0] < 0.2


def test_an_hour_of_silence_in_a_small_file_is_not_decoded_whole():
    """FLAC packs it into some kilobytes; decoded it would be 115 MB."""
    silence = file(np.zeros(3600 * 4000, np.float32), 4000, "FLAC")
    assert len(decode_audio(silence)) == pytest.approx(600 * SAMPLE_RATE, rel=0.01)
    with pytest.raises(AudioError, match="is silent"):
        read_audio(silence)


def test_an_odd_sample_rate_is_refused():
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setparams((1, 2, 10, 100, "NONE", ""))
        out.writeframes(bytes(200))
    with pytest.raises(AudioError, match="10 samples a second"):
        read_audio(buffer.getvalue())


def test_samples_that_are_not_numbers_are_refused():
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(SAMPLE_RATE, np.nan), SAMPLE_RATE, format="WAV", subtype="FLOAT")
    with pytest.raises(AudioError, match="not numbers"):
        read_audio(buffer.getvalue())


def test_frames_of_pitch_and_loudness_are_as_many():
    for length in (0, 1, 159, 160, 161, 5000):
        samples = np.full(length, 0.1, np.float32)
        assert len(frame_loudness(samples)) == length // 160 + 1
        assert length == 0 or len(track(samples)[0]) == length // 160 + 1


def recording(name):
    if not (path := VOICES / name).exists():
        pytest.skip(f"no real recording {name} beside the project")
    return path


@pytest.mark.parametrize(
    ("name", "least"),
    [("ssvd_100620", 0.7), ("ssvd_101806", 0.65), ("ssvd_27435", 0.7), ("ssvd_65595", 0.55)],
)
def test_real_voices_are_transcribed(name, least):
    """Onset within 50 ms and pitch within half a semitone of the annotation; whole semitones cost a tenth."""
    notes = read_audio(recording(f"{name}.flac").read_bytes())
    truth = np.loadtxt(recording(f"{name}.txt"))
    found = np.stack([notes["onset"], notes["onset"] + notes["duration"]], axis=1)
    hertz = (440 * 2 ** ((column.astype(float) - 69) / 12) for column in (truth[:, 2], notes["pitch"]))
    reference, estimate = hertz
    score = mir_eval.transcription.precision_recall_f1_overlap(
        truth[:, :2], reference, found, estimate, offset_ratio=None
    )
    assert score[2] >= least


def test_speech_is_refused_and_a_trumpet_is_not():
    with pytest.raises(AudioError, match="holds no melody"):
        read_audio(recording("speech_jfk.flac").read_bytes())
    notes = read_audio(recording("trumpet.ogg").read_bytes())
    assert notes["pitch"].tolist() == [75, 74, 72, 70, 68, 70, 72, 71, 68, 65, 70, 68, 65]


def test_decoded_samples_keep_their_length_at_the_common_rate():
    assert len(decode_audio(file(sung(MELODY, rate=44_100), 44_100))) == pytest.approx(4 * SAMPLE_RATE, abs=2)


def test_librosas_tracker_gives_the_same_notes():
    recording = file(sung(MELODY[:3]))
    np.testing.assert_array_equal(read_audio(recording, tracker="librosa"), read_audio(recording))
