"""Checkpoint: a trained network and its emotion clusters as a folder that explains itself.

Conventions
-----------
``weights.safetensors`` (the network), ``config.json`` (version, preset and its settings),
``emotion.json`` (the clusters), ``metrics.json`` (figures of the training), ``README.md`` (the model
card). No pickle. ``load_checkpoint`` gives back what was saved or says which command to run. Weights may be
stored in half precision; they are float32 once loaded. ``model/preset.py`` has ``config.json``.
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

from emoray.config import SCHEMA_VERSION, BaselinePreset, Preset
from emoray.dataset.attributes import GROUPS
from emoray.dataset.clusters import EmotionClusters
from emoray.errors import CheckpointError
from emoray.model.baseline import BaselineNetwork
from emoray.model.expressive import ExpressiveNetwork
from emoray.model.preset import CONFIG, PRETRAINED_DEFAULT, TOLD, preset_name, read_preset

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
        return self.preset_name == "expressive"

    @property
    def guidance(self) -> str:
        """The guidance mode for requests that name none."""
        return "cfg" if self.preset_name == "expressive" else "original-tempered"

    @property
    def attributes(self) -> tuple[str, ...]:
        """Groups of attributes that the network can be told."""
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
    config |= TOLD if name == "expressive" else {}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    clusters.save(folder / EMOTION)
    (folder / METRICS).write_text(json.dumps(metrics, indent=2) + "\n")
    (folder / CARD).write_text(card)
    (folder / WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone


def load_checkpoint(folder: Path | None = None) -> Checkpoint:
    """Read a checkpoint folder; None is the one that ships with emoray.

    Raises:
        CheckpointError: it is missing, damaged, of another version, holds unknown settings, or was trained
            with other attributes or bins.
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
    return Checkpoint(
        network=network.eval(),
        preset=preset,
        clusters=EmotionClusters.load(folder / EMOTION),
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
