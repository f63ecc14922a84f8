"""Checkpoint: a trained network and its emotion clusters as a folder that explains itself.

Conventions
-----------
``weights.safetensors`` (the network), ``config.json`` (version, preset and its settings),
``emotion.json`` (the clusters), ``metrics.json`` (figures of the training), ``README.md`` (the model
card). No pickle. ``load_checkpoint`` gives back what was saved or says which command to run.
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

from emoray.config import SCHEMA_VERSION, SeedPreset, from_fields
from emoray.dataset.clusters import EmotionClusters
from emoray.errors import CheckpointError, ConfigError
from emoray.model.network import SeedNetwork

PRETRAINED = Path(__file__).parent.parent / "pretrained"
WEIGHTS, CONFIG, EMOTION, METRICS, CARD = (
    "weights.safetensors", "config.json", "emotion.json", "metrics.json", "README.md",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """All that composing needs."""

    network: SeedNetwork
    preset: SeedPreset
    clusters: EmotionClusters
    metrics: dict[str, Any]
    fingerprint: str
    """Hash of weights, settings and clusters: the same fingerprint, the same music."""

    @property
    def guidance(self) -> str:
        """The guidance mode for requests that name none."""
        return "seed-tempered"


def save_checkpoint(
    folder: Path,
    *,
    network: SeedNetwork,
    preset: SeedPreset,
    clusters: EmotionClusters,
    metrics: dict[str, Any],
    card: str,
) -> None:
    """Write a checkpoint; ``card`` is the text of its model card."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    config = {"version": SCHEMA_VERSION, "preset": "seed", "settings": dataclasses.asdict(preset)}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    clusters.save(folder / EMOTION)
    (folder / METRICS).write_text(json.dumps(metrics, indent=2) + "\n")
    (folder / CARD).write_text(card)
    (folder / WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone


def load_checkpoint(folder: Path | None = None) -> Checkpoint:
    """Read a checkpoint folder; None is the one that ships with emoray.

    Raises:
        CheckpointError: it is missing, damaged, of another version, or holds unknown settings.
    """
    folder = folder or PRETRAINED / "seed"
    if not (folder / CONFIG).is_file():
        raise CheckpointError(folder, f"is not a checkpoint (no {CONFIG}); make one with `emoray train`")
    preset = _preset(folder)
    network = SeedNetwork(preset.hidden)
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


def _preset(folder: Path) -> SeedPreset:
    try:
        config = json.loads((folder / CONFIG).read_text())
        version, name = config["version"], config["preset"]
        if version != SCHEMA_VERSION:
            raise CheckpointError(
                folder,
                f"has version {version!r}, this emoray reads {SCHEMA_VERSION}; run `emoray train` again",
            )
        if unknown := config.keys() - {"version", "preset", "settings"}:
            raise CheckpointError(folder, f"holds unknown keys {sorted(unknown)}; it is from another emoray")
        if name != "seed":
            raise CheckpointError(folder, f"has the unknown preset {name!r}; this emoray knows seed")
        return from_fields(SeedPreset, config["settings"], subject=folder / CONFIG)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise CheckpointError(
            folder, f"has a broken {CONFIG} ({err}); train it again or copy it again"
        ) from err
    except ConfigError as err:
        raise CheckpointError(folder, str(err)) from err


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (WEIGHTS, CONFIG, EMOTION):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _first_line(err: Exception) -> str:
    return str(err).splitlines()[0] if str(err) else type(err).__name__
