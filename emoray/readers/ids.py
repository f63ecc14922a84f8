"""Ids: one for every row of a manifest, its own or one made of what the row says, and none twice.

Conventions
-----------
A made-up id never takes one that a row gives, above or below, so all ids must be known before the first
row is named. Of each id only 8 bytes of hash are kept, and whole ids only where two hashes are the same:
a manifest of millions fits into memory.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Ids:
    """The ids of a manifest, as hashes."""

    rows: int
    given: NDArray[np.uint64]
    """Of ids that rows bring, sorted."""
    twice: frozenset[int]
    """Of ids that more than one row has, or may have."""

    def is_given(self, name: str) -> bool:
        """Whether a row brings this id; once in 10^12 times also when none does, which does no harm."""
        place = int(np.searchsorted(self.given, np.uint64(_hash(name))))
        return place < len(self.given) and int(self.given[place]) == _hash(name)

    def may_be_twice(self, name: str) -> bool:
        """Whether two rows may have this id."""
        return bool(self.twice) and _hash(name) in self.twice


def gather_ids(rows: Iterable[tuple[str, str]]) -> Ids:
    """(id or nothing, what the row says) of every row."""
    given, made = array("Q"), array("Q")
    for name, text in rows:
        (given if name else made).append(_hash(name or made_up(text)))
    own = np.sort(np.array(given, np.uint64))
    everything = np.sort(np.concatenate([own, np.array(made, np.uint64)]))
    twins = everything[1:][everything[1:] == everything[:-1]]
    return Ids(len(everything), own, frozenset(twins.tolist()))


def made_up(text: str) -> str:
    """16 hex digits of what a row says."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


@dataclass
class Naming:
    """Gives out ids, row after row."""

    ids: Ids
    first: dict[str, int] = field(default_factory=dict)
    """The row that has an id, of those that may be there twice."""
    copies: Counter[str] = field(default_factory=Counter)

    def first_with(self, name: str, row: int) -> int:
        """The first row that brings this id: ``row``, or one before it."""
        return self.first.setdefault(name, row) if self.ids.may_be_twice(name) else row

    def name(self, text: str) -> str:
        """The id of a row that brings none; the second that says the same gets ``-2``, the third ``-3``."""
        name = made_up(text)
        if not self.ids.may_be_twice(name):
            return name
        while True:
            self.copies[name] += 1
            numbered = name if self.copies[name] == 1 else f"{name}-{self.copies[name]}"
            if not self.ids.is_given(numbered):
                return numbered


def _hash(name: str) -> int:
    data = name.encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
