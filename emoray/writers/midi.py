"""MIDI: a note array as the bytes of a Standard MIDI File.

Conventions
-----------
The file has one piano track (program 0) at 120 beats a minute and 500 ticks a beat: a tick is one
millisecond. MIDI has note-ons and note-offs and no notes, so two notes of one pitch must not overlap: the
earlier note ends at the onset of the later one. Every note can be read back, in the same order and at least
``SHORTEST`` long. Notes that would prevent this (a unison, a repetition within ``SHORTEST``) start some
milliseconds late. The same notes give the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoray.notes import N_PITCHES, SHORTEST, Notes

TEMPO = 120
TICKS_PER_BEAT = 500
TICKS_PER_SECOND = TICKS_PER_BEAT * TEMPO // 60
SHORTEST_TICKS = round(SHORTEST * TICKS_PER_SECOND)


def midi_bytes(notes: Notes) -> bytes:
    """Write notes as a Standard MIDI File.

    Args:
        notes: [n] sorted by (onset, pitch); n may be 0.

    Returns:
        A file of format 1 with n notes, whose times are exact to a tick but for repetitions of one pitch
        within ``SHORTEST``.
    """
    import symusic  # its import takes a fifth of a second

    start, stop = ticks(notes)
    piano: Any = symusic.Track("emoray", 0, False, ttype="tick")
    piano.notes = symusic.Note.from_numpy(
        time=start.astype(np.int32),
        duration=(stop - start).astype(np.int32),
        pitch=notes["pitch"].astype(np.int8),
        velocity=notes["velocity"].astype(np.int8),
        ttype="tick",
    )
    file: Any = symusic.Score(TICKS_PER_BEAT)
    file.tempos.append(symusic.Tempo(0, TEMPO, ttype="tick"))
    file.time_signatures.append(symusic.TimeSignature(0, 4, 4, ttype="tick"))
    file.tracks.append(piano)
    data: bytes = file.dumps_midi()
    return data


def ticks(notes: Notes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Note-on and note-off of each note.

    Args:
        notes: [n] sorted by (onset, pitch).

    Returns:
        ([n] start, [n] stop) in ticks. The pairs (start, pitch) increase strictly, so readers keep the order;
        ``stop - start`` is at least ``SHORTEST_TICKS``, and no two notes of one pitch overlap.
    """
    start = np.rint(notes["onset"] * TICKS_PER_SECOND).astype(np.int64)
    stop = np.rint((notes["onset"] + notes["duration"]) * TICKS_PER_SECOND).astype(np.int64)
    latest, last_pitch = 0, -1
    last_of: list[int | None] = [None] * N_PITCHES  # the last note of each pitch
    for i, pitch in enumerate(notes["pitch"].tolist()):
        latest = max(int(start[i]), latest + (pitch <= last_pitch))
        if (earlier := last_of[pitch]) is not None:
            latest = max(latest, int(start[earlier]) + SHORTEST_TICKS)
            stop[earlier] = min(stop[earlier], latest)
        start[i], last_of[pitch], last_pitch = latest, i, pitch
        stop[i] = max(stop[i], latest + SHORTEST_TICKS)
    return start, stop
