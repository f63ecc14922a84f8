"""MIDI bytes to notes, as pretty_midi reads them, some 70 times faster.

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

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoray.config import Limits
from emoray.errors import MidiError
from emoray.notes import Notes, as_notes

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
    tracks = [track for track in score.tracks if not track.is_drum]
    closed = [_closed(track.notes.numpy()) for track in tracks]
    if not sum(len(notes["pitch"]) for notes in closed):
        raise MidiError(subject, "holds no notes; export it again with at least one")
    rings = [_pedalled(notes, track.pedals.numpy()) for notes, track in zip(closed, tracks, strict=True)]
    merged = {name: np.concatenate([notes[name] for notes in closed]) for name in closed[0]}
    if len(merged["pitch"]) > limits.midi_notes:
        raise MidiError(subject, f"holds more than {limits.midi_notes:,} notes; cut it into pieces")
    onset, released, silent = (
        _seconds(ticks, score) for ticks in (merged["time"], merged["end"], np.concatenate(rings))
    )
    last = max(onset.max(), silent.max())
    if last > limits.midi_seconds:
        reason = f"lasts {last:,.0f} seconds, more than {limits.midi_seconds:,.0f}"
        raise MidiError(subject, f"{reason}; cut it into pieces")
    key_down, sounding = (
        as_notes(onset, end - onset, merged["pitch"], merged["velocity"], subject=subject)
        for end in (released, silent)
    )
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
    programs = int((np.frombuffer(data, np.uint8) >> 4 == 0xC).sum())
    return 16 * data.count(b"MTrk") + programs


def _pedalled(notes: dict[str, NDArray[np.int64]], pedals: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """[n] ticks at which notes of one track fall silent: the pedal comes up, or the pitch is struck again."""
    end = notes["end"]
    if not len(end) or not len(pedals["time"]):
        return end
    down = pedals["time"].astype(np.int64)
    up = down + pedals["duration"].astype(np.int64)
    place = np.searchsorted(down, end, side="right") - 1
    held = (place >= 0) & (end <= up[np.maximum(place, 0)])
    released = np.where(held, up[np.maximum(place, 0)], end)
    order = np.lexsort((notes["time"], notes["pitch"]))
    time, pitch = notes["time"][order], notes["pitch"][order]
    struck = np.full(len(order), np.iinfo(np.int64).max)
    again = (pitch[1:] == pitch[:-1]) & (time[1:] > time[:-1])
    struck[:-1][again] = time[1:][again]
    silent = np.empty_like(end)
    silent[order] = np.minimum(released[order], struck)
    return np.maximum(silent, end)


def _closed(track: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.int64]]:
    """Notes of one track, each ending at the first note-off of its pitch after its onset; ticks."""
    time, duration, pitch, velocity = (
        track[name].astype(np.int64) for name in ("time", "duration", "pitch", "velocity")
    )
    by_pitch = pitch << 40  # one sortable number for (pitch, tick): a tick has 32 bits
    ends = np.sort(by_pitch + time + duration)
    place = np.searchsorted(ends, by_pitch + time, side="right")
    end = ends[np.minimum(place, len(ends) - 1)] - by_pitch if len(ends) else time
    ended = (place < len(ends)) & (end > time) & (end < 1 << 40)
    return {name: column[ended] for name, column in zip(
        ("time", "end", "pitch", "velocity"), (time, end, pitch, velocity), strict=True
    )}  # fmt: skip


def _seconds(ticks: NDArray[np.int64], score: Any) -> NDArray[np.float64]:
    """Ticks to seconds through the tempo map; float64, where symusic's own are float32."""
    tempi = score.tempos.numpy()
    start = np.concatenate([[0], tempi["time"]]).astype(np.float64)
    tempo = np.concatenate([[DEFAULT_TEMPO], tempi["mspq"]]).astype(np.float64)
    per_tick = tempo / 1e6 / score.ticks_per_quarter
    passed = np.concatenate([[0.0], np.cumsum(np.diff(start) * per_tick[:-1])])
    place = np.searchsorted(start, ticks, side="right") - 1
    return passed[place] + (ticks - start[place]) * per_tick[place]
