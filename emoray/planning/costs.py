"""Costs: what a batch is, what it runs on, and what one of each of its steps was found to cost.

Units: seconds of one core, bytes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is to be done."""

    rows: int
    notes: float
    """Composed for a row, on average, of rows that count them."""
    music_seconds: float = 0.0
    """Composed for a row, on average, of rows that ask for seconds instead."""
    voices: float = 0.0
    """Share of rows with a recording as their seed; the others bring MIDI."""
    pictures: float = 0.0
    """Share of rows with a picture."""
    engine: str = "serve"


@dataclass(frozen=True, kw_only=True)
class Machines:
    """What it is to be done on."""

    nodes: int
    cpus: int
    """Of each node."""
    running: bool = False
    """Ray already runs on them."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Something that a worker does again and again."""

    first: float = 0.0
    """What the first time takes longer: libraries and models that are loaded only then."""
    each: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Composing:
    """Composing for so many rows at once."""

    rows: int
    hear: float
    """Until all seeds are heard."""
    note: float
    """For one more note of each row."""


@dataclass(frozen=True, kw_only=True)
class UnitCosts:
    """What was measured."""

    load: float
    """Of a worker: Python, libraries, the network."""
    midi: Cost
    voice: Cost
    """Both of one seed."""
    picture: Cost
    few: Composing
    many: Composing
    pace: float
    """Notes for a second of music."""
    seed_notes: float
    """Of a seed."""
    write: Cost
    """A note as MIDI."""
    commit: float
    """A row, by the clock: its music and its share of a part, on the disk that was tried."""
    intake: float
    """A row of the manifest, read, checked and stored by the driver."""
    worker_bytes: float
    """The most that a worker held; libraries that workers share count in each."""
    note_bytes: float
    """A note in a file of music."""
    share: float
    """Of a core that the calibration got: 1 on a machine that does nothing else."""
