"""Settings: frozen dataclasses, one default each; the command line and the checkpoint read them from here.

Units: lengths in notes or seconds, sizes in bytes or pixels. A bad value is a ``ConfigError`` that names
the field; an unknown field is one as well.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, TypeVar

from emoray.errors import ConfigError

GUIDANCE_MODES = (
    "none", "original", "original-tempered", "original-literal", "original-logit", "logodds", "attributes",
    "cfg",
)  # fmt: skip
CONDITIONED_MODES = ("attributes", "cfg")
"""Modes that need a network trained on attributes: the expressive preset's."""
PRESETS = ("baseline", "expressive")
SCHEMA_VERSION = 2
"""Version of checkpoints and emotion models; a reader refuses any other. 2 names weights and attributes by
the field's words, and an emotion model says which durations it was fitted on."""
CORPUS_VERSION = 2
"""Of corpora: 2 has sounding durations."""
BATCH_VERSION = 3
"""Of batch folders: 3 has the columns of ``GenerationRequest`` and says what was asked, seen and used."""

Settings = TypeVar("Settings")


def from_fields(kind: type[Settings], fields: dict[str, Any], *, subject: object) -> Settings:
    """Build a settings dataclass from stored fields.

    Raises:
        ConfigError: a field is unknown or its value is refused.
    """
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(fields.keys() - names):
        raise ConfigError(
            subject, f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(names))}"
        )
    return kind(**fields)


def _positive(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise ConfigError(name.replace("_", " "), f"must be a positive number, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class BaselinePreset:
    """The original system's network and its training."""

    window: int = 25
    """Notes of context."""
    hidden: int = 128
    """Units of the LSTM."""
    pitch_weight: float = 0.05
    """Of the pitch cross-entropy in the loss."""
    step_weight: float = 1.0
    duration_weight: float = 1.0
    learning_rate: float = 3e-3
    batch_size: int = 64
    """Windows in one update, over all workers."""
    clip_norm: float = 1.0
    epochs: int = 50
    epoch_windows: int = 400_000
    """An epoch is this many windows, drawn without replacement, or the whole split if it has fewer."""
    validation_windows: int = 100_000
    """At most this many, evenly spaced over the validation split."""
    patience: int = 5
    """Epochs without a lower validation loss that end training; half as many halve the learning rate."""

    def __post_init__(self) -> None:
        _positive(self, *(field.name for field in dataclasses.fields(self)))


@dataclass(frozen=True, kw_only=True)
class ExpressivePreset:
    """A wider LSTM over embedded notes, with a distribution for each thing a note is."""

    embedding: int = 320
    """Width of a note on its way into the LSTM."""
    hidden: int = 640
    """Units of each LSTM layer."""
    layers: int = 2
    head: int = 384
    """Hidden units of each head."""
    dropout: float = 0.0
    """Of the LSTM's inputs and outputs. A large corpus, moved as below, is never read twice alike."""
    condition_dropout: float = 0.4
    """Share of spans trained without any attribute; half as many again lose some of them."""
    lookahead: int = 64
    """Notes ahead over which attributes are measured."""
    chunk: int = 96
    """Notes between two updates; the LSTM's state is carried from chunk to chunk of a span."""
    span: int = 1920
    """Notes read from one piece before the state starts afresh."""
    batch_size: int = 128
    """Spans side by side in one update, over all workers."""
    learning_rate: float = 3e-3
    warmup: int = 200
    """Updates over which the learning rate rises."""
    decay: float = 0.4
    """Last share of the epochs over which it falls to zero."""
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    transpose: int = 6
    """Semitones up or down, at most, that a span is moved in training."""
    stretch: float = 0.15
    """Largest natural logarithm by which its tempo is changed."""
    loudness: int = 8
    """Largest change of its velocities."""
    epochs: int = 60
    epoch_spans: int = 896
    """An epoch reads this many spans, over all workers."""
    validation_notes: int = 60_000
    """At most this many, from the beginning of as many validation pieces as it takes."""
    patience: int = 1_000
    """Epochs without a lower validation loss that end training."""

    def __post_init__(self) -> None:
        zero = {"dropout", "condition_dropout", "transpose", "stretch", "loudness", "weight_decay"}
        _positive(self, *(item.name for item in dataclasses.fields(self) if item.name not in zero))


Preset = BaselinePreset | ExpressivePreset


@dataclass(frozen=True, kw_only=True)
class OriginalGuidance:
    """The original system's formulas; the names of the fields are its own."""

    alpha: float = 0.5
    """Weight of the emotion score."""
    beta: float = 0.5
    """Weight of the logits."""
    temperature: float = 2.0
    """Divides their sum."""
    sigma: float = 0.1
    """Standard deviation of gamma and delta about 1."""

    def __post_init__(self) -> None:
        _positive(self, "beta", "temperature")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a reader takes from outside before it refuses."""

    midi_bytes: int = 10_000_000
    midi_notes: int = 1_000_000
    midi_seconds: float = 21_600.0
    """A delta time of four bytes can say years."""
    midi_tracks: int = 20_000
    """Channels and programs that a file may name: its parser makes a track for each, of some kilobytes."""
    audio_bytes: int = 100_000_000
    audio_seconds: float = 600.0
    """Of a longer recording the end is read."""
    picture_bytes: int = 20_000_000
    picture_pixels: int = 50_000_000
