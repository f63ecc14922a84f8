"""Gallery: a few seeds, each continued without an emotion, happy and sad, to look at and to hear.

Conventions
-----------
A folder: ``<seed>-<emotion>.mid`` for each, ``<seed>.png`` with its three piano rolls one above the other,
``happy.mp3`` and ``sad.mp3`` (one short seed, for the README), and a ``README.md`` that shows them. Seeds are
the embedded pieces: none of it is anybody's recording. Other sound is not kept: ``emoray render`` makes it.
"""

from __future__ import annotations

from emoray.composer import Composer
from emoray.demo.files import opening
from emoray.demo.pieces import pieces
from emoray.notes import Notes
from emoray.storage import storage_path, write_file
from emoray.writers.plot import piano_rolls

SHOWN = ("minuet_in_g", "fur_elise", "greensleeves", "ode_to_joy", "prelude_e_minor")
VALENCES = {"none": 0.0, "happy": 1.0, "sad": -1.0}
SEED_SECONDS, COMPOSED_SECONDS = 10.0, 30.0
"""Of the seed, at most, and composed after it."""
HEARD, HEARD_EMOTIONS = "greensleeves", ("happy", "sad")
HEARD_SEED_SECONDS, HEARD_SECONDS = 5.0, 14.0
"""The same of the two pieces that are kept as sound."""
GALLERY_RANDOM_SEED = 0


def gallery_seed(name: str, seconds: float = SEED_SECONDS) -> Notes:
    """The beginning of an embedded piece: [n] notes that start within so many seconds."""
    [notes] = [piece.notes for piece in pieces() if piece.name == name]
    return opening(notes, seconds)


def make_gallery(out: str, composer: Composer, guidance: str | None = None) -> list[str]:
    """Compose the gallery into a folder.

    Args:
        out: path or URI of the folder, which is made if it does not exist.
        composer: composes all of it.
        guidance: mode of all pieces; None is the checkpoint's.

    Returns:
        The names of the files that were written.

    Raises:
        ConfigError, BatchError: a file cannot be written.
    """
    folder = storage_path(out)
    cases = [(name, emotion) for name in SHOWN for emotion in VALENCES]
    rows = [
        *({"seed": gallery_seed(name), "emotion": VALENCES[emotion]} for name, emotion in cases),
        *(
            {
                "seed": gallery_seed(HEARD, HEARD_SEED_SECONDS),
                "emotion": VALENCES[emotion],
                "seconds": HEARD_SECONDS,
            }
            for emotion in HEARD_EMOTIONS
        ),
    ]
    composed = composer.generate(
        rows, seconds=COMPOSED_SECONDS, guidance=guidance, random_seed=GALLERY_RANDOM_SEED
    )
    by_case = dict(zip(cases, composed, strict=False))
    names = [f"{name}-{emotion}.mid" for name, emotion in cases]
    names += [f"{emotion}.mp3" for emotion in HEARD_EMOTIONS]
    for name, piece in zip(names, composed, strict=True):
        piece.save(folder / name)
    for seed in SHOWN:
        rolls = {emotion: by_case[seed, emotion].notes for emotion in VALENCES}
        picture = piano_rolls(rolls, seed_notes=by_case[seed, "none"].seed_notes)
        names.append(f"{seed}.png")
        write_file(folder / names[-1], picture)
    names.append("README.md")
    write_file(folder / names[-1], gallery_page(guidance or composer.checkpoint.guidance).encode())
    return names


def gallery_page(guidance: str) -> str:
    """The gallery's page, in Markdown."""
    lines = [
        "# Gallery",
        "",
        f"Five seeds (blue), each continued for {COMPOSED_SECONDS:.0f} seconds (vermilion) without an",
        f"emotion, happy and sad, with guidance `{guidance}`, strength 1, random seed {GALLERY_RANDOM_SEED}:",
        "none was chosen.",
        "`make gallery` makes it again; `emoray render NAME.mid --wav NAME.wav` makes sound of a piece.",
        "",
        f"To listen to, {HEARD.replace('_', ' ').capitalize()} ({HEARD_SEED_SECONDS:.0f} seconds) and "
        f"{HEARD_SECONDS:.0f} seconds composed: [happy](happy.mp3), [sad](sad.mp3).",
    ]
    for name in SHOWN:
        links = ", ".join(f"[{emotion}]({name}-{emotion}.mid)" for emotion in VALENCES)
        lines += [
            "",
            f"## {name.replace('_', ' ').capitalize()}",
            "",
            f"{links}",
            "",
            f"![{name}]({name}.png)",
        ]
    return "\n".join(lines) + "\n"
