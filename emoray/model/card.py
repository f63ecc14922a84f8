"""Model card: what a checkpoint is, what it was trained on, how well it does and where it ends."""

from __future__ import annotations

import dataclasses
from typing import Any

from emoray.config import BaselinePreset, ExpressivePreset, Preset
from emoray.dataset.attributes import GROUPS

MAESTRO_NOTICE = """Trained on MAESTRO (Hawthorne et al. 2019, CC BY-NC-SA 4.0): use these weights, and the
music they make, under the same terms: attribution, no commercial use, share alike.
"""


NOTICES = {"maestro": MAESTRO_NOTICE}
"""What a model card says of the music that binds the weights, by the name of the music."""


def model_card(preset: Preset, metrics: dict[str, Any], *, origin: str, notice: str = "") -> str:
    """Markdown for ``README.md`` of a checkpoint.

    Args:
        preset: the settings it was trained with.
        metrics: figures of the training.
        origin: what it was trained on and how.
        notice: the licence of the data, where it binds the weights.
    """
    opening, units, limits = _seed(preset) if isinstance(preset, BaselinePreset) else _expressive(preset)
    settings = "\n".join(f"| {name} | {value} |" for name, value in dataclasses.asdict(preset).items())
    figures = "\n".join(f"| {name} | {_short(value)} |" for name, value in metrics.items())
    return f"""{opening}

{notice or "The weights carry the licence of the music they were trained on."}
{origin}

| figure | value |
|---|---|
{figures}

{units}

| setting | value |
|---|---|
{settings}

Limits: {limits}
"""


def _seed(preset: BaselinePreset) -> tuple[str, str, str]:
    """What it is, the units of its figures, where it ends."""
    return (
        f"""# emoray checkpoint, preset baseline

An LSTM that predicts the next note (pitch, step, duration) of piano music from the {preset.window} notes
before it, with two emotion clusters for its guidance. It continues a seed; it does not know bars, pedal or
velocity.""",
        "`pitch_nll` is in nats a note; losses of times are squared errors in seconds squared.",
        """the emotion is heard in tempo and length of notes far more than in pitches, and squared-error time
heads play with little rhythm: this preset is a baseline.""",
    )


def _expressive(preset: ExpressivePreset) -> tuple[str, str, str]:
    """What it is, the units of its figures, where it ends."""
    return (
        f"""# emoray checkpoint, preset expressive

An LSTM of {preset.layers} layers of {preset.hidden} that predicts the next note (step, pitch, duration,
velocity; a distribution each) of piano music from all notes before it. It can be told
{", ".join(GROUPS)}
of the {preset.lookahead} notes to come, or any of these, or none: that is how an emotion leads it. Durations
are those that sound under the pedal.""",
        """`*_nats` are nats a note over the preset's own bins, each part given the parts before it, on the
first span of validation pieces; `validation_loss` is their sum with nothing told, `validation_told_loss` with
all attributes of the notes to come.""",
        """it continues a seed and knows the style of its training music only; it plays without bars, form or
a plan beyond what its state remembers. Attributes are not emotions: which of them sound happy or sad was
learned from few people's labels of short phrases, and listeners differ.""",
    )


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
