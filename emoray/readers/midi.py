"""MIDI: the bytes of a file to notes. symusic parses over 100 times as fast as pretty_midi, with equal notes.

Conventions
-----------
All pitched tracks are merged; drums are left out. The tempo changes of the whole file turn ticks into
seconds. Each of several overlapping notes of one pitch ends at the first note-off after its own onset, as in
pretty_midi and on a piano. A note is dropped if it never ends, if it ends at its onset, or if it is a second
note-on of a sounding pitch without a note-off of its own (pretty_midi ends it with the first).

Key-down durations ignore the sustain pedal. Sounding durations include it: a note that is released while the
pedal is down ends when the pedal comes up or when its pitch is played again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emoray.config import Limits
from emoray.errors import MidiError
from emoray.notes import Notes, as_notes

Ticks = NDArray[np.int64]

DEFAULT_TEMPO = 500_000
"""Microseconds a quarter note before the first tempo of a file: 120 beats a minute."""


def read_midi(data: bytes, *, subject: object = "midi", limits: Limits = Limits()) -> Notes:  # noqa: B008
    """Read a MIDI file of any format, with key-down durations. Silence before the first note is kept.

    Args:
        data: the bytes of the file.
        subject: the name in error messages, usually a path.
        limits: a larger or longer file is refused.

    Returns:
        [n] notes, n > 0.

    Raises:
        MidiError: the file is not MIDI, too large, damaged, or holds no notes.

    >>> from emoray.notes import as_notes
    >>> from emoray.writers.midi import midi_bytes
    >>> notes = read_midi(midi_bytes(as_notes([0.0, 0.5], [0.4, 0.4], [60, 64], [80, 80])))
    >>> notes["pitch"].tolist(), notes["onset"].tolist()
    ([60, 64], [0.0, 0.5])
    """
    return read_performance(data, subject=subject, limits=limits)[0]


def read_performance(
    data: bytes,
    *,
    subject: object = "midi",
    limits: Limits = Limits(),  # noqa: B008
) -> tuple[Notes, Notes]:
    """Read a MIDI file with key-down durations and with sounding ones, which include the sustain pedal.

    Returns:
        [n] notes twice, equal but for their durations.

    Raises:
        MidiError: see ``read_midi``.
    """
    score = _score(data, subject, limits)
    tracks = [_track_notes(track) for track in score.tracks if not track.is_drum]
    if not sum(len(track.pitch) for track in tracks):
        raise MidiError(subject, "holds no notes; export it again with at least one")
    pitch, velocity, *ticks = (np.concatenate(column) for column in zip(*tracks, strict=True))
    if len(pitch) > limits.midi_notes:
        raise MidiError(subject, f"holds more than {limits.midi_notes:,} notes; cut it into pieces")
    if len(tracks) > 1:
        order = np.lexsort((pitch, ticks[0]))
        pitch, velocity, *ticks = (column[order] for column in (pitch, velocity, *ticks))
    onset, released, sounding_end = (_seconds(some, score) for some in ticks)
    last = max(onset.max(), sounding_end.max())
    if last > limits.midi_seconds:
        reason = f"lasts {last:,.0f} seconds, more than {limits.midi_seconds:,.0f}"
        raise MidiError(subject, f"{reason}; cut it into pieces")
    key_down = as_notes(onset, released - onset, pitch, velocity, subject=subject)
    sounding = key_down.copy()  # in the same order; no note ends before its key is released
    sounding["duration"] = sounding_end - onset
    return key_down, sounding


def _score(data: bytes, subject: object, limits: Limits) -> Any:
    """Parse a MIDI file with symusic, after checks that keep it from using too much memory."""
    import symusic

    if len(data) > limits.midi_bytes:
        raise MidiError(subject, f"{len(data):,} bytes, more than {limits.midi_bytes:,}; cut it into pieces")
    if not data.startswith(b"MThd"):
        reason = "is empty" if not data else "is not a MIDI file (no MThd at its start)"
        raise MidiError(subject, f"{reason}; export it again as .mid")
    if data[12:14] == b"\0\0":
        raise MidiError(subject, "is damaged (a beat has no ticks); copy or export it again")
    if _most_tracks(data) > limits.midi_tracks:
        raise MidiError(subject, f"may hold more than {limits.midi_tracks:,} tracks; cut it into pieces")
    try:
        return symusic.Score.from_midi(data)
    except (RuntimeError, ValueError) as err:  # symusic's errors for every kind of damage
        detail = str(err).split(": iostream")[0]
        raise MidiError(subject, f"is damaged or cut short ({detail}); copy or export it again") from err


def _most_tracks(data: bytes) -> int:
    """An upper bound of symusic's tracks: one for each channel of a chunk and each program change.

    A program change begins with the byte C0..CF, and so do parts of some delta times and texts.
    """
    programs = np.count_nonzero((np.frombuffer(data, np.uint8) & 0xF0) == 0xC0)
    return 16 * data.count(b"MTrk") + int(programs)


class _TrackNotes(NamedTuple):
    """[n] columns of the notes of one track, sorted by (time, pitch)."""

    pitch: NDArray[np.uint8]
    velocity: NDArray[np.uint8]
    time: Ticks
    end: Ticks
    """The first note-off of the pitch after the onset."""
    sounding_end: Ticks
    """The end with the sustain pedal applied."""


def _track_notes(track: Any) -> _TrackNotes:
    """The notes of a symusic track."""
    notes, pedals = track.notes.numpy(), track.pedals.numpy()
    pitch, velocity = notes["pitch"].astype(np.uint8), notes["velocity"].astype(np.uint8)
    time, duration = notes["time"].astype(np.int64), notes["duration"].astype(np.int64)
    key = time << 7 | pitch
    if (key[1:] < key[:-1]).any():
        order = np.argsort(key, kind="stable")
        pitch, velocity, time, duration = pitch[order], velocity[order], time[order], duration[order]
    by_pitch = np.argsort(pitch, kind="stable")
    end = np.empty_like(time)
    end[by_pitch] = _ends(pitch[by_pitch], time[by_pitch], duration[by_pitch])
    ended = end > time
    if not ended.all():
        pitch, velocity, time, end = pitch[ended], velocity[ended], time[ended], end[ended]
        by_pitch = np.argsort(pitch, kind="stable")
    sounding_end = end.copy()
    if len(pedals["time"]):
        sounding_end[by_pitch] = _sounding_ends(pitch[by_pitch], time[by_pitch], end[by_pitch], pedals)
    return _TrackNotes(pitch, velocity, time, end, sounding_end)


def _ends(pitch: NDArray[np.uint8], time: Ticks, duration: Ticks) -> Ticks:
    """[n] the first note-off of the pitch after each onset, or -1; the notes are sorted by (pitch, time)."""
    if not len(time):
        return time
    row = pitch.astype(np.int64) << 40  # one sortable number for (pitch, tick): a tick has 32 bits
    onsets, ends = row + time, row + time + duration
    if (duration > 0).all() and (ends[:-1] <= onsets[1:]).all():  # no pitch is played while it sounds
        return ends - row
    ends.sort()
    index = np.searchsorted(ends, onsets, side="right")
    end = ends[np.minimum(index, len(ends) - 1)] - row
    return np.where((index < len(ends)) & (end < 1 << 40), end, -1)


def _sounding_ends(
    pitch: NDArray[np.uint8], time: Ticks, end: Ticks, pedals: dict[str, NDArray[Any]]
) -> Ticks:
    """[n] ends with the sustain pedal applied; the notes are sorted by (pitch, time)."""
    down = pedals["time"].astype(np.int64)
    up = down + pedals["duration"].astype(np.int64)
    index = np.searchsorted(down, end, side="right") - 1
    up_next = up[np.maximum(index, 0)]
    released = np.where((index >= 0) & (end <= up_next), up_next, end)
    played_again = np.full(len(time), np.iinfo(np.int64).max)
    again = (pitch[1:] == pitch[:-1]) & (time[1:] > time[:-1])
    played_again[:-1][again] = time[1:][again]
    return np.maximum(np.minimum(released, played_again), end)


def _seconds(ticks: Ticks, score: Any) -> NDArray[np.float64]:
    """Ticks to seconds through the tempo map, in float64; symusic converts in float32."""
    tempi = score.tempos.numpy()
    start = np.concatenate([[0], tempi["time"]]).astype(np.float64)
    tempo = np.concatenate([[DEFAULT_TEMPO], tempi["mspq"]]).astype(np.float64)
    per_tick = tempo / 1e6 / score.ticks_per_quarter
    if not start.any():  # one tempo
        return ticks * per_tick[-1]
    passed = np.concatenate([[0.0], np.cumsum(np.diff(start) * per_tick[:-1])])
    index = np.searchsorted(start, ticks, side="right") - 1
    return passed[index] + (ticks - start[index]) * per_tick[index]
