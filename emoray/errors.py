"""Errors a user can mend: each names its subject, says what is wrong and how to put it right.

Everything else is a bug and keeps its traceback. Each error survives pickling, because Ray pickles what
its workers raise.
"""

from __future__ import annotations

_LONGEST_SHOWN = 200


def shown(text: object) -> str:
    r"""Text from outside for an error message: one printable line of at most 200 characters.

    >>> shown("a" + chr(9)), len(shown("x" * 1000))
    ("'a\\t'", 203)
    """
    word = str(text)
    word = word if word.isprintable() else ascii(word)
    return word if len(word) <= _LONGEST_SHOWN else f"{word[:_LONGEST_SHOWN]}..."


class EmorayError(Exception):
    """Base class. ``subject`` is what failed, ``reason`` what is wrong and how to mend it."""

    def __init__(self, subject: object, reason: str) -> None:
        super().__init__(subject, reason)  # both kept in args, so the error survives pickling
        self.subject, self.reason = subject, reason

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}"


class ConfigError(EmorayError):
    """A setting is out of range or unknown."""


class MidiError(EmorayError):
    """A file is not MIDI that we can read, or holds no notes."""


class AudioError(EmorayError):
    """A recording cannot be decoded, is too long, or holds no melody."""


class FaceError(EmorayError):
    """A picture gives no emotion, or the face backend is not ready."""


class WeightsError(EmorayError):
    """Weights of a face model are missing, damaged or could not be fetched."""


class CorpusError(EmorayError):
    """A folder is not a finished corpus, or a corpus cannot be made from it."""


class CheckpointError(EmorayError):
    """A checkpoint, or the emotion model in it, cannot be used."""


class TrainingError(EmorayError):
    """A training diverged: its loss or its gradient is no longer a number."""


class RequestError(EmorayError):
    """A request asks for something that cannot be composed."""


class ManifestError(EmorayError):
    """A manifest cannot be read at all; a bad row in it is a failed row instead."""


class BatchError(EmorayError):
    """A batch folder is in use, belongs to other inputs, or is not a batch folder."""


class ClusterError(EmorayError):
    """The Ray cluster is missing, unreachable or too small for what was asked."""
