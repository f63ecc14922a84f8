"""emoray: piano music that starts from your melody and leans towards an emotion.

    import emoray

    composer = emoray.load()
    piece = composer.generate("hum.wav", emotion="sad", seconds=60, random_seed=7)
    piece.save("sad.mid")

``load`` reads a checkpoint and gives a ``Composer``, whose ``generate`` makes a ``Piece``. ``read_notes`` and
``read_emotion`` read music and faces; ``emotion_of`` estimates the emotion of either. Errors that a user can
mend are ``EmorayError``. Nothing heavy is imported until it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emoray.composer import Composer as Composer
    from emoray.composer import load as load
    from emoray.emotion import Evidence as Evidence
    from emoray.errors import AudioError as AudioError
    from emoray.errors import BatchError as BatchError
    from emoray.errors import CheckpointError as CheckpointError
    from emoray.errors import ConfigError as ConfigError
    from emoray.errors import EmorayError as EmorayError
    from emoray.errors import FaceError as FaceError
    from emoray.errors import MidiError as MidiError
    from emoray.errors import RequestError as RequestError
    from emoray.errors import WeightsError as WeightsError
    from emoray.piece import Piece as Piece
    from emoray.recognition import EmotionEstimate as EmotionEstimate
    from emoray.recognition import emotion_of as emotion_of
    from emoray.recognition import read_emotion as read_emotion
    from emoray.recognition import read_notes as read_notes

_HOME = {
    "composer": ("Composer", "load"),
    "piece": ("Piece",),
    "recognition": ("EmotionEstimate", "emotion_of", "read_emotion", "read_notes"),
    "emotion": ("Evidence",),
    "errors": (
        "AudioError", "BatchError", "CheckpointError", "ConfigError", "EmorayError", "FaceError", "MidiError",
        "RequestError", "WeightsError",
    ),
}  # fmt: skip
"""Module to the public names in it."""
__all__ = [name for names in _HOME.values() for name in names]  # a list, made of the table


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f"emoray.{module}"), name)
    raise AttributeError(f"module 'emoray' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
