"""Piece: composed music with all that is known of how it came about; it saves and shows itself.

Conventions
-----------
Notes are an array of dtype ``NOTE`` (``emoray/notes.py``): onset and duration in seconds, pitch and velocity
as MIDI numbers. Emotions are valences: -1 is sad, 1 is happy. A piece is written to a file whose suffix says
what it is to be: ``FORMATS``. A place is a path, or a URI that begins with ``s3://``, ``gs://`` or
``file://``.

Letters: **n** notes.
"""

from __future__ import annotations

import base64
import html
import tempfile
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from emoray.errors import RequestError
from emoray.notes import Notes, end
from emoray.storage import StoragePath, storage_path, write_file


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """A piece of music.

    ``Composer.generate`` makes pieces; ``Piece(notes=emoray.read_notes("a.mid"))`` makes one of a file, to be
    saved as sound or shown.

    >>> import numpy as np
    >>> from emoray.notes import as_notes
    >>> scale = as_notes(np.arange(4) / 2, [0.5] * 4, [60, 62, 64, 65], [80] * 4)
    >>> piece = Piece(notes=scale, seed_notes=1, name="scale")
    >>> piece
    Piece('scale': 1 seed note, 3 composed, 2.0 s)
    >>> piece.save("scale.docx")
    Traceback (most recent call last):
        ...
    emoray.errors.RequestError: scale.docx: has no suffix of .mid, .midi, .mp3, .png, .wav; choose one of them
    """

    notes: Notes
    """[n], the seed's first, then the composed ones."""
    seed_notes: int = 0
    """How many of ``notes``, from the first, are the seed; 0 where the seed was to be left out."""
    name: str = "piece"
    """What a picture of it is titled."""
    random_seed: int | None = None
    """The number that the random choices came from: the same number and inputs give the same notes."""
    guidance: str | None = None
    """The guidance mode that was used. None, as everything below, of music that was not composed here."""
    emotion_asked: float | None = None
    """The valence that the request named; None if it named none."""
    emotion_seen: float | None = None
    """The valence that the picture shows; None without a picture or without a readable face in it."""
    emotion_used: float | None = None
    """The valence that the music was composed with; that of a curve at its beginning."""
    arousal_used: float | None = None
    """The same of arousal: -1 is calm, 1 is excited."""
    emotion_from: str | None = None
    """Where the emotion in use is from: ``emotion``, ``image`` or ``curve``."""
    image_status: str | None = None
    """What became of the picture: ``Evidence.status``."""
    face_model: str | None = None
    """Which model read the picture: library, version, engine and hash of its weights."""

    @property
    def composed(self) -> Notes:
        """[n - seed_notes] the notes that were composed."""
        return self.notes[self.seed_notes :]

    @property
    def seconds(self) -> float:
        """Seconds until the last note ends."""
        return end(self.notes)

    @property
    def label(self) -> str | None:
        """The emotion in use as a word: ``happy``, ``sad`` or ``neutral``."""
        if self.emotion_used is None:
            return None
        return "happy" if self.emotion_used > 0 else "sad" if self.emotion_used < 0 else "neutral"

    def save(self, where: str | Path | StoragePath) -> None:
        """Write the piece to a file; its suffix says as what.

        Args:
            where: a path or URI that ends in ``.mid`` or ``.midi`` (a Standard MIDI File), ``.wav`` (stereo,
                44.1 kHz), ``.mp3`` (mono) or ``.png`` (a piano roll).

        Raises:
            RequestError: it has another suffix.
            ConfigError, BatchError: the file cannot be written.
            AudioError: the synthesiser is not installed, or the music is too long for the format.
        """
        write_file(where, self.rendered(suffix_of(where)))

    def rendered(self, suffix: str) -> bytes:
        """The bytes of a file with one of the suffixes in ``FORMATS``.

        Raises:
            AudioError: see ``save``.
        """
        return FORMATS[suffix](self)

    def show(self) -> Path | None:
        """Show the piano roll and a player: in a notebook, or else in the web browser.

        Returns:
            The page that the browser was given, None in a notebook.
        """
        try:
            from IPython import get_ipython  # type: ignore[import-not-found, unused-ignore]
            from IPython.display import display  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            notebook = False
        else:
            notebook = get_ipython() is not None
        if notebook:
            display(self)
            return None
        page = Path(tempfile.mkdtemp(prefix="emoray-")) / "piece.html"
        page.write_text(f"<!doctype html><meta charset=utf-8>{self._repr_html_()}", encoding="utf-8")
        webbrowser.open(page.as_uri())
        return page

    def _repr_html_(self) -> str:
        """Piano roll and player for a notebook; sound and picture are in the page, so it needs no network."""
        picture, sound = (base64.b64encode(self.rendered(suffix)).decode() for suffix in (".png", ".mp3"))
        title = html.escape(repr(self), quote=True)
        return (
            f'<figure style="margin:0"><img alt="{title}" style="max-width:100%" '
            f'src="data:image/png;base64,{picture}"><br>'
            f'<audio controls src="data:audio/mpeg;base64,{sound}"></audio></figure>'
        )

    def __repr__(self) -> str:
        plural = "" if self.seed_notes == 1 else "s"
        emotion = "" if self.label is None else f", {self.label}"
        return (
            f"Piece({self.name!r}: {self.seed_notes} seed note{plural}, "
            f"{len(self.composed)} composed{emotion}, {self.seconds:.1f} s)"
        )


def _midi(piece: Piece) -> bytes:
    from emoray.writers.midi import midi_bytes

    return midi_bytes(piece.notes)


def _wav(piece: Piece) -> bytes:
    from emoray.writers.audio import wav_bytes

    return wav_bytes(piece.notes)


def _mp3(piece: Piece) -> bytes:
    from emoray.writers.audio import mp3_bytes

    return mp3_bytes(piece.notes)


def _png(piece: Piece) -> bytes:
    from emoray.writers.plot import piano_roll

    return piano_roll(piece.notes, seed_notes=piece.seed_notes, title=piece.name)


FORMATS: dict[str, Callable[[Piece], bytes]] = {
    ".mid": _midi, ".midi": _midi, ".mp3": _mp3, ".png": _png, ".wav": _wav,
}  # fmt: skip
"""Suffix of a file to what is written into it."""


def suffix_of(where: str | Path | StoragePath) -> str:
    """The suffix of a file that a piece can be written to, in small letters.

    Raises:
        RequestError: it has another one. BatchError: it is a URI that cannot be used.
    """
    suffix = PurePath(storage_path(where).path).suffix.lower()
    if suffix not in FORMATS:
        raise RequestError(where, f"has no suffix of {', '.join(sorted(FORMATS))}; choose one of them")
    return suffix
