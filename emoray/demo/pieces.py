"""The embedded pieces: public-domain music, written down in ``scores/`` as ``score.py`` reads it."""

from __future__ import annotations

from importlib.resources import files

from emoray.demo.score import DemoPiece, read_score


def pieces() -> list[DemoPiece]:
    """All of them, by name."""
    found = [path for path in files("emoray.demo").joinpath("scores").iterdir() if path.name.endswith(".txt")]
    return [
        read_score(path.read_text(encoding="utf-8"), name=path.name.removesuffix(".txt"))
        for path in sorted(found, key=lambda path: path.name)
    ]
