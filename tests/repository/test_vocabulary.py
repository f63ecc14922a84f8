"""The words of the field: what has a name there has that name here, in the code and in the documents."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = [
    *(ROOT / "emoray").rglob("*.py"),
    *(ROOT / "benchmarks").rglob("*.py"),
    *(ROOT / "docs").rglob("*.md"),
    *(path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"),
]
INSTEAD = {
    "untold": "unconditional",
    "bowed": "scaled",
    "bent": "guided",
    "priming": "prefill",
    "primed": "prefilled",
    "crowd": "batch",
    "crowds": "batches",
    "grain": "shard",
    "grains": "shards",
    "heats": "the temperature divides the logits of",
    "come to grief": "fail",
    "dearer": "costs more",
    "rules that only count": "counting baseline",
    "seed document": "original system",
    "seed preset": "baseline preset",
    "who waits": "a waiting request",
}
"""A word that crept in, and the word of the field."""
LEFT = {
    "bent",
    "bowed",
    "crowd",
    "dearer",
    "grain",
    "grains",
    "heats",
    "priming",
    "seed document",
    "who waits",
}
"""Words that are still there. The list only gets shorter."""


def found(word: str) -> list[str]:
    pattern = re.compile(rf"(?<![A-Za-z]){word}(?![A-Za-z])".replace(" ", r"\s+"), re.IGNORECASE)
    return [path.relative_to(ROOT).as_posix() for path in TEXTS if pattern.search(path.read_text())]


@pytest.mark.parametrize("word", INSTEAD)
def test_the_fields_word_stands_in_place_of_ours(word):
    places = found(word)
    if word in LEFT and places:
        pytest.skip(f"{word!r} is still in {len(places)} files")
    assert places == [], f"say {INSTEAD[word]!r} instead of {word!r}"
