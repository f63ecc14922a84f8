"""Settings: frozen dataclasses, one default each; the command line and the checkpoint read them from here.

Units: lengths in notes or seconds, sizes in bytes or pixels. A bad value is a ``ConfigError`` that names
the field; an unknown field is one as well.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, TypeVar

from emoray.errors import ConfigError, RequestError
from emoray.notes import Notes

GUIDANCE_MODES = ("none", "seed", "seed-tempered", "seed-literal")
PRESETS = ("seed",)
SCHEMA_VERSION = 1
"""Of checkpoints and corpora. A reader refuses any other."""

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
class SeedPreset:
    """The seed document's network and its training."""

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
class SeedGuidance:
    """The seed document's formulas; the names of the fields are its own."""

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
    audio_bytes: int = 100_000_000
    audio_seconds: float = 600.0
    picture_bytes: int = 20_000_000
    picture_pixels: int = 50_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """One piece to compose. ``seed`` must hold at least one note."""

    seed: Notes
    valence: float
    """-1 sad .. +1 happy; its sign is the label of the seed document's formulas."""
    random_seed: int = 0
    notes: int | None = None
    """How many notes to compose; with ``seconds`` also given, whichever comes first."""
    seconds: float | None = None
    """Compose until this many seconds after the seed's last onset."""
    guidance: str = "seed"
    strength: float = 1.0
    """How far the emotion may pull: 0 gives the same bytes as guidance ``none``, 1 is as calibrated."""
    temperature: float | None = None
    """None: what the guidance mode prescribes. 0 takes the most likely pitch."""

    def __post_init__(self) -> None:
        if not len(self.seed):
            raise RequestError("seed", "holds no notes; give music with at least one note")
        if self.guidance not in GUIDANCE_MODES:
            raise RequestError(
                "guidance", f"{self.guidance!r} is unknown; choose {', '.join(GUIDANCE_MODES)}"
            )
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:  # NaN is refused here too
                raise RequestError(name.replace("_", " "), f"must lie in {low}..{high}, got {value}")

    @property
    def length(self) -> tuple[int, float]:
        """(most notes, most seconds) to compose: where it ends, whatever the network plays."""
        if self.notes is None and self.seconds is None:
            return DEFAULT_NOTES, math.inf
        return self.notes or MOST_NOTES, self.seconds or math.inf


DEFAULT_NOTES = 120
"""Composed when neither notes nor seconds are asked for; the seed document's length."""
MOST_NOTES = 20_000
MOST_SECONDS = 3_600.0
RANGES: dict[str, tuple[float, float]] = {
    "valence": (-1, 1),
    "notes": (1, MOST_NOTES),
    "seconds": (0.1, MOST_SECONDS),
    "strength": (0, 10),
    "temperature": (0, 100),
    "random_seed": (0, 2**63 - 1),
}
"""Lowest and highest value of each number in a ``Request``; a manifest is checked against the same."""
