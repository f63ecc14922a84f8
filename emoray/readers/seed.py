"""Seeds: the bytes of a MIDI file or a recording to notes. The content decides which it is, not the name."""

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
    """Read the notes of a MIDI file (also of one in a RIFF container, ``.rmi``) or transcribe a recording.

    Args:
        data: the bytes of the file.
        subject: the name in error messages, usually a path.
        limits: a larger or longer file is refused.
        sounding: whether durations include a MIDI file's sustain pedal; a network needs the durations that it
            was trained on.

    Returns:
        [n] notes, n >= 1.

    Raises:
        RequestError: the file is empty.
        MidiError, AudioError: the reader of that kind refuses the file.

    >>> from emoray.notes import as_notes
    >>> from emoray.writers.midi import midi_bytes
    >>> data = midi_bytes(as_notes([0.0, 0.5], [0.4, 0.4], [60, 64], [80, 80]))
    >>> read_seed(data)["pitch"].tolist()
    [60, 64]
    """
    if not data:
        raise RequestError(subject, "is empty; give a MIDI file or a recording")
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        start = data.find(b"MThd")  # in its data chunk; the chunks after it are ignored
        data = data[start:] if start > 0 else data
    if data[:4] == b"MThd":
        return read_performance(data, subject=subject, limits=limits)[sounding]
    return read_audio(data, subject=subject, limits=limits)
