"""Checkpoint: a trained network and its emotion clusters as a folder that explains itself.

Conventions
-----------
``weights.safetensors`` (the network), ``config.json`` (version, preset and its settings),
``emotion.json`` (the clusters), ``metrics.json`` (figures of the training), ``README.md`` (the model
card). No pickle. ``load_checkpoint`` gives back what was saved or says which command to run. Weights may be
stored in half precision; they are float32 once loaded. ``model/preset.py`` reads ``config.json``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from emoray.config import SCHEMA_VERSION, BaselinePreset, ExpressivePreset, Preset
from emoray.dataset.attributes import GROUPS
from emoray.dataset.clusters import EmotionClusters
from emoray.errors import CheckpointError
from emoray.model.baseline import BaselineNetwork
from emoray.model.expressive import ExpressiveNetwork
from emoray.model.preset import (
    CONFIG,
    NUMBERS,
    PRETRAINED_DEFAULT,
    check_clusters,
    durations_of,
    preset_name,
    read_preset,
)  # fmt: skip

WEIGHTS, EMOTION, METRICS, CARD = "weights.safetensors", "emotion.json", "metrics.json", "README.md"

Network = BaselineNetwork | ExpressiveNetwork


def new_network(preset: Preset) -> Network:
    """An untrained network."""
    return BaselineNetwork(preset.hidden) if isinstance(preset, BaselinePreset) else ExpressiveNetwork(preset)


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """All that composing needs."""

    network: Network
    preset: Preset
    clusters: EmotionClusters
    metrics: dict[str, Any]
    fingerprint: str
    """Hash of weights, settings and clusters: the same fingerprint, the same music."""

    @property
    def preset_name(self) -> str:
        """``baseline`` or ``expressive``."""
        return preset_name(self.preset)

    @property
    def sounding(self) -> bool:
        """Whether its durations are those that sound under the pedal, not those of keys held down."""
        return durations_of(self.preset_name) == "sounding"

    @property
    def guidance(self) -> str:
        """The guidance mode for requests that name none."""
        return "cfg" if self.preset_name == "expressive" else "original-tempered"

    @property
    def attributes(self) -> tuple[str, ...]:
        """Groups of attributes that a condition of the network may give."""
        return tuple(GROUPS) if self.preset_name == "expressive" else ()


def save_checkpoint(
    folder: Path,
    *,
    network: Network,
    preset: Preset,
    clusters: EmotionClusters,
    metrics: dict[str, Any],
    card: str,
    half: bool = False,
) -> None:
    """Write a checkpoint; ``card`` is the text of its model card, ``half`` stores weights as float16."""
    folder.mkdir(parents=True, exist_ok=True)
    dtype = torch.float16 if half else torch.float32
    weights = {
        name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in network.state_dict().items()
    }
    save_file(weights, folder / WEIGHTS)
    name = preset_name(preset)
    config = {"version": SCHEMA_VERSION, "preset": name, "settings": dataclasses.asdict(preset)}
    config |= NUMBERS if name == "expressive" else {}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    clusters.save(folder / EMOTION)
    (folder / METRICS).write_text(json.dumps(metrics, indent=2) + "\n")
    (folder / CARD).write_text(card)
    (folder / WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone


def load_checkpoint(folder: Path | None = None) -> Checkpoint:
    """Read a checkpoint folder; None is the one that ships with emoray.

    Raises:
        CheckpointError: it is missing, damaged, of another version, holds unknown settings, was trained with
            other attributes or bins, or its emotion model was fitted on other durations.
    """
    folder = folder or PRETRAINED_DEFAULT
    if not (folder / CONFIG).is_file():
        raise CheckpointError(folder, f"is not a checkpoint (no {CONFIG}); make one with `emoray train`")
    preset = read_preset(folder)
    network = new_network(preset)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
        metrics = json.loads((folder / METRICS).read_text())
    except (OSError, ValueError, RuntimeError, SafetensorError) as err:
        raise CheckpointError(
            folder, f"is damaged ({_first_line(err)}); train it again or copy it again"
        ) from err
    clusters = EmotionClusters.load(folder / EMOTION)
    check_clusters(clusters, preset_name(preset), folder / EMOTION)
    return Checkpoint(
        network=network.eval(),
        preset=preset,
        clusters=clusters,
        metrics=metrics,
        fingerprint=_fingerprint(folder),
    )


def best_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (WEIGHTS, CONFIG, EMOTION):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _first_line(err: Exception) -> str:
    return str(err).splitlines()[0] if str(err) else type(err).__name__


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
    opening, units, limits = (
        _baseline_text(preset) if isinstance(preset, BaselinePreset) else _expressive_text(preset)
    )
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


def _baseline_text(preset: BaselinePreset) -> tuple[str, str, str]:
    """What it is, the units of its figures, its limits."""
    return (
        f"""# emoray checkpoint, preset baseline

An LSTM that predicts the next note (pitch, step, duration) of piano music from the {preset.window} notes
before it, with two emotion clusters for its guidance. It continues a seed; it does not know bars, pedal or
velocity.""",
        "`pitch_nll` is in nats a note; losses of times are squared errors in seconds squared.",
        """the emotion is heard in tempo and length of notes far more than in pitches, and squared-error time
heads play with little rhythm: this preset is a baseline.""",
    )


def _expressive_text(preset: ExpressivePreset) -> tuple[str, str, str]:
    """What it is, the units of its figures, its limits."""
    return (
        f"""# emoray checkpoint, preset expressive

An LSTM of {preset.layers} layers of {preset.hidden} that predicts the next note (step, pitch, duration,
velocity; a distribution each) of piano music from all notes before it. Its condition is
{", ".join(GROUPS)}
of the {preset.lookahead} notes to come, or any of these, or none: that is how an emotion guides it. Durations
are those that sound under the pedal.""",
        """`*_nats` are nats a note over the preset's own bins, each part given the parts before it, on the
first span of validation pieces; `validation_loss` is their sum without a condition,
`validation_conditional_loss` with all attributes of the notes to come.""",
        """it continues a seed and knows the style of its training music only; it plays without bars, form or
a plan beyond what its state remembers. Attributes are not emotions: which of them sound happy or sad was
learned from few people's labels of short phrases, and listeners differ.""",
    )


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
