"""Model card: what a checkpoint is, what it was trained on, how well it does and where it ends."""

from __future__ import annotations

import dataclasses
from typing import Any

from emoray.config import SeedPreset

MAESTRO_NOTICE = """Trained on MAESTRO (Hawthorne et al. 2019, CC BY-NC-SA 4.0): use these weights, and the
music they make, under the same terms: attribution, no commercial use, share alike.
"""


def model_card(preset: SeedPreset, metrics: dict[str, Any], *, origin: str, notice: str = "") -> str:
    """Markdown for ``README.md`` of a checkpoint.

    Args:
        preset: the settings it was trained with.
        metrics: figures of the training.
        origin: what it was trained on and how.
        notice: the licence of the data, where it binds the weights.
    """
    settings = "\n".join(f"| {name} | {value} |" for name, value in dataclasses.asdict(preset).items())
    figures = "\n".join(f"| {name} | {_short(value)} |" for name, value in metrics.items())
    return f"""# emoray checkpoint, preset seed

An LSTM that predicts the next note (pitch, step, duration) of piano music from the {preset.window} notes
before it, with two emotion clusters for its guidance. It continues a seed; it does not know bars, pedal or
velocity.

{notice or "The weights carry the licence of the music they were trained on."}
{origin}

| figure | value |
|---|---|
{figures}

`pitch_nll` is in nats a note; losses of times are squared errors in seconds squared.

| setting | value |
|---|---|
{settings}

Limits: the emotion is heard in tempo and length of notes far more than in pitches, and squared-error time
heads play with little rhythm: this preset is a baseline.
"""


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
