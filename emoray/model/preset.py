"""Preset: which network a checkpoint folder holds, by its ``config.json`` alone, without torch.

Conventions
-----------
An expressive checkpoint also names the attributes of its network's condition and counts the bins of its
heads: to a reader with others its numbers would mean something else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emoray.config import SCHEMA_VERSION, BaselinePreset, ExpressivePreset, Preset, from_fields
from emoray.dataset.attributes import GROUPS
from emoray.dataset.bins import DURATION_BINS, STEP_BINS, VELOCITY_BINS
from emoray.dataset.clusters import Durations, EmotionClusters
from emoray.errors import CheckpointError, ConfigError

PRETRAINED = Path(__file__).parent.parent / "pretrained"
PRETRAINED_DEFAULT = PRETRAINED / "expressive"
"""What commands use when no checkpoint is named."""
CONFIG = "config.json"
KINDS: dict[str, type[Preset]] = {"baseline": BaselinePreset, "expressive": ExpressivePreset}
"""Presets by the name that a checkpoint and the command line know them by."""
NUMBERS: dict[str, Any] = {
    "attributes": list(GROUPS),
    "bins": {"step": STEP_BINS, "duration": DURATION_BINS, "velocity": VELOCITY_BINS},
}
"""What the numbers that go in and out of an expressive network mean, by key of ``config.json``."""


def checkpoint_folder(where: str | Path | None) -> Path:
    """The folder of a checkpoint that ships with emoray, if ``where`` is its name, or else the folder itself.

    >>> checkpoint_folder(None) == checkpoint_folder("pretrained") == PRETRAINED_DEFAULT
    True
    """
    shipped = {
        "None": PRETRAINED_DEFAULT,
        "pretrained": PRETRAINED_DEFAULT,
        "baseline": PRETRAINED / "baseline",
    }
    return shipped.get(str(where)) or Path(str(where))


def preset_name(preset: Preset) -> str:
    """The name of a preset: ``baseline`` or ``expressive``."""
    return next(name for name, kind in KINDS.items() if type(preset) is kind)


def durations_of(name: str) -> Durations:
    """Which durations the network of a preset reads and predicts: ``sounding`` or ``key-down``."""
    return "sounding" if name == "expressive" else "key-down"


def reads_sounding(folder: Path | None = None) -> bool:
    """Whether a checkpoint's network reads sounding durations.

    Raises:
        CheckpointError: see ``read_preset``.
    """
    return durations_of(preset_name(read_preset(folder or PRETRAINED_DEFAULT))) == "sounding"


def read_preset(folder: Path) -> Preset:
    """The preset of a checkpoint.

    Raises:
        CheckpointError: it is missing, broken, of another version, or was trained with other attributes or
            bins.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        version, name = config["version"], config["preset"]
        if version != SCHEMA_VERSION:
            raise CheckpointError(
                folder,
                f"has version {version!r}, this emoray reads {SCHEMA_VERSION}; run `emoray train` again",
            )
        if name not in KINDS:
            known = " and ".join(KINDS)
            raise CheckpointError(folder, f"has the unknown preset {name!r}; this emoray knows {known}")
        numbers = NUMBERS if name == "expressive" else {}
        if unknown := config.keys() - {"version", "preset", "settings", *numbers}:
            raise CheckpointError(folder, f"holds unknown keys {sorted(unknown)}; it is from another emoray")
        for key, ours in numbers.items():
            if config[key] != ours:
                raise CheckpointError(
                    folder,
                    f"was trained with other {key} ({config[key]}), this emoray has {ours};"
                    " run `emoray train` again",
                )
        return from_fields(KINDS[name], config["settings"], subject=folder / CONFIG)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise CheckpointError(
            folder, f"has a broken {CONFIG} ({err}); train it again or copy it again"
        ) from err
    except ConfigError as err:
        raise CheckpointError(folder, str(err)) from err


def check_clusters(clusters: EmotionClusters, name: str, subject: object) -> None:
    """Refuse an emotion model that was fitted on other durations than the network of a preset reads.

    Raises:
        CheckpointError: its durations are those of the other preset.
    """
    wanted = durations_of(name)
    if clusters.durations != wanted:
        raise CheckpointError(
            subject,
            f"was fitted on {clusters.durations} durations, the {name} preset reads {wanted} ones;"
            f" run `emoray cluster --preset {name}`",
        )
