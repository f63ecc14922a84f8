"""Gallery: a few seeds, each continued without an emotion, happy and sad, to look at and to hear.

Conventions
-----------
A folder: ``<seed>-<emotion>.mid`` for each, ``<seed>.png`` with its three piano rolls one above the other,
and a ``README.md`` that shows them. Seeds are the embedded pieces: nothing of it is anybody's recording.
Sound is not kept: ``emoray render`` makes it from the MIDI.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from emoray.demo.pieces import pieces
from emoray.errors import ConfigError
from emoray.notes import Notes
from emoray.request import Prompt
from emoray.writers.midi import midi_bytes
from emoray.writers.plot import piano_rolls

SHOWN = ("minuet_in_g", "fur_elise", "greensleeves", "ode_to_joy", "prelude_e_minor")
EMOTIONS = {"none": 0.0, "happy": 1.0, "sad": -1.0}
SEED_SECONDS, SECONDS = 10.0, 30.0
"""Of the seed, at most, and composed after it."""
RANDOM_SEED = 0


def seed_of(name: str) -> Notes:
    """The beginning of an embedded piece."""
    [notes] = [piece.notes for piece in pieces() if piece.name == name]
    return notes[notes["onset"] < SEED_SECONDS]


def hang(out: Path, compose: Callable[[Sequence[Prompt]], list[Notes]], guidance: str) -> list[Path]:
    """Compose the gallery into a folder.

    Args:
        out: made if it is not there.
        compose: requests to composed notes.
        guidance: mode of happy and sad.

    Returns:
        The files that were written.

    Raises:
        ConfigError: the folder cannot be written.
    """
    seeds = {name: seed_of(name) for name in SHOWN}
    asked = [
        Prompt(seed=seed, valence=valence, guidance=guidance, seconds=SECONDS, random_seed=RANDOM_SEED)
        for seed in seeds.values()
        for valence in EMOTIONS.values()
    ]
    composed = iter(compose(asked))
    files: dict[str, bytes] = {}
    for name, seed in seeds.items():
        whole = {emotion: np.concatenate([seed, next(composed)]) for emotion in EMOTIONS}
        files[f"{name}.png"] = piano_rolls(whole, seed_notes=len(seed))
        for emotion, notes in whole.items():
            files[f"{name}-{emotion}.mid"] = midi_bytes(notes)
    files["README.md"] = page(guidance).encode()
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (out / name).write_bytes(data)
    except OSError as err:
        raise ConfigError(out, f"cannot be written ({err.strerror}); choose another with --out") from err
    return [out / name for name in files]


def page(guidance: str) -> str:
    """The gallery's page, in Markdown."""
    lines = [
        "# Gallery",
        "",
        f"Five seeds (blue), each continued for {SECONDS:.0f} seconds (vermilion) without an emotion, happy",
        f"and sad, with guidance `{guidance}`, strength 1, random seed {RANDOM_SEED}: none was chosen.",
        "`make gallery` makes it again; `emoray render NAME.mid --wav NAME.wav` makes one heard.",
    ]
    for name in SHOWN:
        links = ", ".join(f"[{emotion}]({name}-{emotion}.mid)" for emotion in EMOTIONS)
        lines += [
            "",
            f"## {name.replace('_', ' ').capitalize()}",
            "",
            f"{links}",
            "",
            f"![{name}]({name}.png)",
        ]
    return "\n".join(lines) + "\n"
