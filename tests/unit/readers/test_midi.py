import io
import warnings
from collections import Counter
from pathlib import Path

import mido
import numpy as np
import pretty_midi
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emoray.config import Limits
from emoray.errors import MidiError
from emoray.readers.midi import read_midi

MAESTRO = Path(__file__).parents[4] / "shared" / "data" / "maestro-v2"


def midi(*tracks, kind=1, ticks=480):
    """A MIDI file's bytes from tracks of mido messages."""
    file = mido.MidiFile(type=kind, ticks_per_beat=ticks)
    for messages in tracks:
        file.tracks.append(mido.MidiTrack(messages))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def on(pitch, time=0, velocity=64, channel=0):
    return mido.Message("note_on", note=pitch, velocity=velocity, time=time, channel=channel)


def off(pitch, time=0, channel=0):
    return mido.Message("note_off", note=pitch, velocity=0, time=time, channel=channel)


def tempo(microseconds, time=0):
    return mido.MetaMessage("set_tempo", tempo=microseconds, time=time)


FILES = {
    "one note": midi([on(60), off(60, 480)]),
    "tempo changes": midi([tempo(500_000), tempo(250_000, 480), tempo(1_000_000, 480)],
                          [on(60), off(60, 400), on(62, 40), off(62, 700), on(64), off(64, 600)]),
    "running status": b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\x11"
                      b"\0\x90\x3c\x40\x60\x3c\0\0\x3e\x50\x60\x3e\0\0\xff\x2f\0",
    "overlapping notes of one pitch": midi([on(60, 0, 50), on(60, 240, 60), off(60, 240), off(60, 240)]),
    "two struck together": midi([on(60, 0, 50), on(60, 0, 60), off(60, 240), off(60, 240)]),
    "struck again as it ends": midi([on(60), off(60, 240), on(60, 0, 70), off(60, 240)]),
    "ended as it is struck again": midi([on(60), on(60, 240, 70), off(60), off(60, 240)]),
    "several tracks": midi([on(60), off(60, 480)], [on(64, 10, 90), off(64, 300)], [on(67), off(67, 30)]),
    "one pitch on two channels": midi([on(60), on(60, 10, 70, 1), off(60, 100), off(60, 100, 1)]),
    "drums": midi([on(36, 0, 99, 9), off(36, 100, 9), on(60), off(60, 100)]),
    "a note that never ends": midi([on(60), on(62, 10), off(62, 100)]),
    "a note of no length": midi([on(60), off(60), on(62, 10), off(62, 100)]),
    "format 0": midi([tempo(400_000), on(60), off(60, 480), tempo(200_000), on(64), off(64, 480)], kind=0),
    "format 2": midi([tempo(400_000), on(60), off(60, 480)], [on(62), off(62, 480)], kind=2),
}  # fmt: skip


def oracle(data):
    """[n, 4] onset, duration, pitch, velocity as pretty_midi reads them, sorted alike."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what it repairs
        file = pretty_midi.PrettyMIDI(io.BytesIO(data))
    notes = [
        (note.start, note.end - note.start, note.pitch, note.velocity)
        for instrument in file.instruments
        if not instrument.is_drum
        for note in instrument.notes
    ]
    return np.array(sorted(notes, key=lambda note: (note[0], note[2], note[3], note[1])))


def assert_as_pretty_midi(data):
    notes, expected = np.sort(read_midi(data), order=["onset", "pitch", "velocity", "duration"]), oracle(data)
    assert len(notes) == len(expected)
    np.testing.assert_array_equal(notes["pitch"], expected[:, 2])
    np.testing.assert_array_equal(notes["velocity"], expected[:, 3])
    np.testing.assert_allclose(notes["onset"], expected[:, 0], atol=1e-3)
    np.testing.assert_allclose(notes["duration"], expected[:, 1], atol=1e-3)


@pytest.mark.parametrize("name", FILES)
def test_notes_are_those_of_pretty_midi(name):
    assert_as_pretty_midi(FILES[name])


def _unmatched(strikes, tick, pitch):
    """Whether a note-off at a tick ends no earlier note: a note-off ends all notes of its pitch."""
    ends = Counter(start + length for start, length, key, _ in strikes if key == pitch)
    last = max((end for end in ends if end < tick), default=-1)
    sounding = any(key == pitch and last <= start < tick for start, _, key, _ in strikes)
    return ends[tick] > int(sounding)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(1, 300), st.integers(58, 63), st.integers(1, 127)),
        min_size=1,
        max_size=40,
    )
)
def test_any_tangle_of_six_keys_is_read_as_pretty_midi_reads_it(strikes):
    """As long as each note-on has a note-off: a second note-on without one is lost, see the module.

    pretty_midi drops a note-on at the tick of a note-off that ends no earlier note; emoray keeps it.
    """
    assume(not any(_unmatched(strikes, start, pitch) for start, _, pitch, _ in strikes))
    events = [(start, on(pitch, 0, velocity)) for start, _, pitch, velocity in strikes]
    events += [(start + length, off(pitch)) for start, length, pitch, _ in strikes]
    events.sort(key=lambda event: event[0])
    times = np.diff([0, *(time for time, _ in events)])
    messages = [message.copy(time=int(time)) for time, (_, message) in zip(times, events, strict=True)]
    assert_as_pretty_midi(midi(messages))


@pytest.mark.skipif(not MAESTRO.is_dir(), reason="the MAESTRO files are not here")
def test_real_performances_are_read_as_pretty_midi_reads_them():
    for path in sorted(MAESTRO.glob("*/*.midi"), key=lambda path: path.stat().st_size)[:400:100]:
        assert_as_pretty_midi(path.read_bytes())


def test_onsets_by_hand_through_a_tempo_change():
    """One beat of .5 s, then one of .25 s: the third note starts at .75 s."""
    data = midi(
        [tempo(500_000), tempo(250_000, 480)],
        [on(60), off(60, 480), on(62), off(62, 480), on(64), off(64, 480)],
    )
    assert read_midi(data)["onset"].tolist() == [0.0, 0.5, 0.75]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"hello, this is text", "is not a MIDI file"),
        (FILES["one note"][:-5], "is damaged or cut short"),
        (FILES["one note"][:17], "is damaged or cut short"),
        (b"MThd", "is damaged or cut short"),
        (midi([tempo(500_000)]), "holds no notes"),
        (midi([on(36, 0, 99, 9), off(36, 10, 9)]), "holds no notes"),
        (midi([on(60), on(61, 10)]), "holds no notes"),
    ],
)
def test_bad_midi_is_named_with_its_reason(data, reason):
    with pytest.raises(MidiError, match=f"tune.mid: {reason}"):
        read_midi(data, subject="tune.mid")


def test_a_file_too_large_is_refused_before_it_is_parsed():
    with pytest.raises(MidiError, match="100,000,000 bytes, more than 10,000,000; cut it into pieces"):
        read_midi(b"MThd" + bytes(100_000_000 - 4))
    with pytest.raises(MidiError, match="holds more than 2 notes"):
        read_midi(FILES["several tracks"], limits=Limits(midi_notes=2))


def test_a_file_of_many_tracks_is_refused_before_it_is_parsed():
    """899,072 tracks in 10 MB took 4.8 GB: symusic makes one for each channel and program with notes."""
    events = b"".join(
        b"\0%c%c\0%c\x3c\x40\1\x3c\0" % (0xC0 | channel, program, 0x90 | channel)
        for channel in range(16)
        for program in range(128)
    )
    track = b"MTrk" + len(events).to_bytes(4, "big") + events
    few, many = (
        b"MThd\0\0\0\6\0\1" + count.to_bytes(2, "big") + b"\1\xe0" + track * count for count in (1, 20)
    )
    assert len(read_midi(few)) == 15 * 128  # a channel of drums is left out
    with pytest.raises(MidiError, match="may hold more than 20,000 tracks; cut it into pieces"):
        read_midi(many)


def test_a_piece_longer_than_six_hours_is_refused():
    """What starts three days late no MIDI file can hold, so nothing could be composed on from it."""
    with pytest.raises(MidiError, match="more than 21,600; cut it into pieces"):
        read_midi(midi([on(60), off(60, 480), on(62, 2**27), off(62, 480)]))


def test_a_file_whose_beat_has_no_ticks_is_refused():
    data = FILES["one note"]
    with pytest.raises(MidiError, match="a beat has no ticks"):
        read_midi(data[:12] + b"\0\0" + data[14:])
