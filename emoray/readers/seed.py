"""Seeds: bytes of unknown kind to notes. The content decides what they are, not the name of the file."""

from __future__ import annotations

from emoray.config import Limits
from emoray.errors import RequestError
from emoray.notes import Notes
from emoray.readers.audio import read_audio
from emoray.readers.midi import read_performance


def read_seed(
    data: bytes,
    *,
    subject: object = "seed",
    limits: Limits = Limits(),  # noqa: B008
    sounding: bool = False,
) -> Notes:
    """The notes of a MIDI file (also one wrapped in RIFF, ``.rmi``) or the melody of a recording.

    Args:
        data: the file.
        subject: what to blame in the error, usually a path.
        limits: what is refused.
        sounding: whether a MIDI file's sustain pedal is applied to durations; a network hears what it
            was trained on.

    Returns:
        [n] of dtype ``NOTE``, n >= 1.

    Raises:
        RequestError: there are no bytes.
        MidiError, AudioError: what the reader of that kind says.
    """
    if not data:
        raise RequestError(subject, "is empty; give a MIDI file or a recording")
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        start = data.find(b"MThd")  # in its data chunk; what follows the MIDI is not looked at
        data = data[start:] if start > 0 else data
    if data[:4] == b"MThd":
        return read_performance(data, subject=subject, limits=limits)[sounding]
    return read_audio(data, subject=subject, limits=limits)
