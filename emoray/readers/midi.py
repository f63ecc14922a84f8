"""MIDI bytes to notes, as pretty_midi reads them, over 100 times faster.

Conventions
-----------
All pitched tracks are merged; drums are left out. Ticks become seconds through the tempo changes of the
whole file. Of overlapping notes of one pitch each ends at the first note-off after its own onset: that is
pretty_midi's reading, and what a piano does. A note that never ends, or ends where it begins, is dropped;
so is a second strike of a held key that brings no note-off of its own (pretty_midi ends it with the first).
The sustain pedal is ignored, but for sounding durations: there a note whose key is released while the pedal
is down sounds until the pedal comes up or its pitch is struck again.
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
"""Microseconds a quarter note until the file says otherwise: 120 beats a minute."""


def read_midi(data: bytes, *, subject: object = "midi", limits: Limits = Limits()) -> Notes:  # noqa: B008
    """Read a MIDI file of any format, with key-down durations; the first note keeps the silence before it.

    Args:
        data: the bytes of the file.
        subject: what to blame in the error, usually a path.
        limits: sizes that are refused.

    Returns:
        [n] notes, n > 0.

    Raises:
        MidiError: it is not MIDI, too large, damaged, or holds no notes.
    """
    return read_performance(data, subject=subject, limits=limits)[0]


def read_performance(
    data: bytes,
    *,
    subject: object = "midi",
    limits: Limits = Limits(),  # noqa: B008
) -> tuple[Notes, Notes]:
    """``read_midi`` twice: with key-down durations, and with sounding ones (the sustain pedal applied).

    Returns:
        [n] notes and the same [n] notes, which differ in nothing but ``duration``.

    Raises:
        MidiError: see ``read_midi``.
    """
    score = _score(data, subject, limits)
    tracks = [_performed(track) for track in score.tracks if not track.is_drum]
    if not sum(len(track.pitch) for track in tracks):
        raise MidiError(subject, "holds no notes; export it again with at least one")
    pitch, velocity, *ticks = (np.concatenate(column) for column in zip(*tracks, strict=True))
    if len(pitch) > limits.midi_notes:
        raise MidiError(subject, f"holds more than {limits.midi_notes:,} notes; cut it into pieces")
    if len(tracks) > 1:
        order = np.lexsort((pitch, ticks[0]))
        pitch, velocity, *ticks = (column[order] for column in (pitch, velocity, *ticks))
    onset, released, silent = (_seconds(some, score) for some in ticks)
    last = max(onset.max(), silent.max())
    if last > limits.midi_seconds:
        reason = f"lasts {last:,.0f} seconds, more than {limits.midi_seconds:,.0f}"
        raise MidiError(subject, f"{reason}; cut it into pieces")
    key_down = as_notes(onset, released - onset, pitch, velocity, subject=subject)
    sounding = key_down.copy()  # in the same order, and no note is shorter than its key is down
    sounding["duration"] = silent - onset
    return key_down, sounding


def _score(data: bytes, subject: object, limits: Limits) -> Any:
    """A MIDI file as symusic sees it."""
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
    except (RuntimeError, ValueError) as err:  # what symusic raises for every kind of damage
        detail = str(err).split(": iostream")[0]
        raise MidiError(subject, f"is damaged or cut short ({detail}); copy or export it again") from err


def _most_tracks(data: bytes) -> int:
    """As many tracks as symusic could make of the bytes: one for each channel of a chunk and each program.

    A program change begins with C0..CF, as do parts of some long delta times and texts: never too few.
    """
    programs = np.count_nonzero((np.frombuffer(data, np.uint8) & 0xF0) == 0xC0)
    return 16 * data.count(b"MTrk") + int(programs)


class _Performed(NamedTuple):
    """Notes of one track, sorted by (time, pitch), [n] each; a note that does not end is left out."""

    pitch: NDArray[np.uint8]
    velocity: NDArray[np.uint8]
    time: Ticks
    end: Ticks
    """The first note-off of its pitch after its onset."""
    silent: Ticks
    """When the pedal comes up, or the pitch is struck again."""


def _performed(track: Any) -> _Performed:
    """The notes of a track of symusic's."""
    notes, pedals = track.notes.numpy(), track.pedals.numpy()
    pitch, velocity = notes["pitch"].astype(np.uint8), notes["velocity"].astype(np.uint8)
    time, duration = notes["time"].astype(np.int64), notes["duration"].astype(np.int64)
    place = time << 7 | pitch
    if (place[1:] < place[:-1]).any():
        order = np.argsort(place, kind="stable")
        pitch, velocity, time, duration = pitch[order], velocity[order], time[order], duration[order]
    by_pitch = np.argsort(pitch, kind="stable")
    end = np.empty_like(time)
    end[by_pitch] = _ends(pitch[by_pitch], time[by_pitch], duration[by_pitch])
    ended = end > time
    if not ended.all():
        pitch, velocity, time, end = pitch[ended], velocity[ended], time[ended], end[ended]
        by_pitch = np.argsort(pitch, kind="stable")
    silent = end.copy()
    if len(pedals["time"]):
        silent[by_pitch] = _silences(pitch[by_pitch], time[by_pitch], end[by_pitch], pedals)
    return _Performed(pitch, velocity, time, end, silent)


def _ends(pitch: NDArray[np.uint8], time: Ticks, duration: Ticks) -> Ticks:
    """[n] the first end of each pitch after each onset, -1 if there is none; sorted by (pitch, time)."""
    if not len(time):
        return time
    row = pitch.astype(np.int64) << 40  # one sortable number for (pitch, tick): a tick has 32 bits
    onsets, ends = row + time, row + time + duration
    if (duration > 0).all() and (ends[:-1] <= onsets[1:]).all():  # no key is struck while it is held
        return ends - row
    ends.sort()
    place = np.searchsorted(ends, onsets, side="right")
    end = ends[np.minimum(place, len(ends) - 1)] - row
    return np.where((place < len(ends)) & (end < 1 << 40), end, -1)


def _silences(pitch: NDArray[np.uint8], time: Ticks, end: Ticks, pedals: dict[str, NDArray[Any]]) -> Ticks:
    """[n] ticks at which notes fall silent; sorted by (pitch, time)."""
    down = pedals["time"].astype(np.int64)
    up = down + pedals["duration"].astype(np.int64)
    place = np.searchsorted(down, end, side="right") - 1
    up_next = up[np.maximum(place, 0)]
    released = np.where((place >= 0) & (end <= up_next), up_next, end)
    struck = np.full(len(time), np.iinfo(np.int64).max)
    again = (pitch[1:] == pitch[:-1]) & (time[1:] > time[:-1])
    struck[:-1][again] = time[1:][again]
    return np.maximum(np.minimum(released, struck), end)


def _seconds(ticks: Ticks, score: Any) -> NDArray[np.float64]:
    """Ticks to seconds through the tempo map; float64, where symusic's own are float32."""
    tempi = score.tempos.numpy()
    start = np.concatenate([[0], tempi["time"]]).astype(np.float64)
    tempo = np.concatenate([[DEFAULT_TEMPO], tempi["mspq"]]).astype(np.float64)
    per_tick = tempo / 1e6 / score.ticks_per_quarter
    if not start.any():  # one tempo
        return ticks * per_tick[-1]
    passed = np.concatenate([[0.0], np.cumsum(np.diff(start) * per_tick[:-1])])
    place = np.searchsorted(start, ticks, side="right") - 1
    return passed[place] + (ticks - start[place]) * per_tick[place]
