"""Grain: the rows that are answered and committed together, as one worker does it; without Ray.

Whatever is wrong with a row ends up in its results row. What is wrong with the folder (disk full, lock taken
over, Serve gone) is the ``problem`` of the shard, which the driver raises: it would hit every other shard as
well.

A row can also end the process that answers it (out of memory, a crash in a library), or never end. The worker
that finds that its shard killed another (``publish.py``) asks no longer for all rows together but for one
after the other, each in a process of its own. So the row at fault is found, tried a few times and failed, and
its neighbours are answered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pyarrow as pa

from emoray.batch import ledger
from emoray.batch.ledger import Layout, StoredRow
from emoray.batch.publish import count_deaths, refuse_overtaken
from emoray.batch.stored_manifest import read_manifest_rows
from emoray.config import Limits
from emoray.emotion import parse_curve
from emoray.errors import BatchError, ClusterError, RequestError
from emoray.readers.files import read_from
from emoray.readers.manifest import ManifestRow
from emoray.request import GenerationRequest, Result
from emoray.storage import StoragePath

log = logging.getLogger(__name__)

Engine = Callable[[Sequence[GenerationRequest]], list[tuple[Result, int]]]
"""Items to (result, attempts it took), in order; it raises for nothing that a single item brings along."""
Tell = Callable[[Sequence[StoredRow]], None]
"""Is told the rows that were answered and committed."""
MOST_BYTES = 256_000_000
"""Of seeds and pictures in memory before they are answered: a shard of large recordings goes in pieces."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a worker must know to do any shard of a run."""

    layout: Layout
    root: StoragePath
    fencing_token: int
    guidance: str | None
    strength: float
    without_seed: bool
    attempts: int = 5
    """How many workers may die over a shard before the batch ends."""
    again: bool = False
    """Redo the rows that failed and keep the others."""
    limits: Limits = field(default_factory=Limits)


SUMMARY = pa.schema(
    [
        ("shard", pa.int64()),
        ("rows", pa.int64()),
        ("ok", pa.int64()),
        ("failed", pa.int64()),
        ("problem", pa.list_(pa.string())),
    ]
)
"""What a worker tells the driver of a shard."""


_engines: dict[tuple[str, int], Engine] = {}
"""The engine of this process, by the drive it was built for: Ray runs many tasks in one process."""


def process_shards(
    shards: pa.Table,
    work: Work,
    build: Callable[[], Engine],
    alone: Engine | None = None,
    tell: Tell = lambda _: None,
) -> pa.Table:
    """[shard] to rows of ``SUMMARY``: a task of Ray Data."""
    drive = (str(work.layout.out), work.fencing_token)

    def engine(items: Sequence[GenerationRequest]) -> list[tuple[Result, int]]:
        if drive not in _engines:  # only now: a shard whose items go alone needs none
            _engines.clear()
            _engines[drive] = build()
        return _engines[drive](items)

    done = [process_shard(work, number, engine, alone, tell) for number in shards["shard"].to_pylist()]
    return pa.Table.from_pylist(done, SUMMARY)


def process_shard(
    work: Work, number: int, engine: Engine, alone: Engine | None = None, tell: Tell = lambda _: None
) -> dict[str, Any]:
    """Answer a shard and commit it.

    Args:
        work: what the run is.
        number: of the shard.
        engine: answers its items together.
        alone: answers them apart, once a worker died over them; None is ``engine`` again.
        tell: is told the rows once they are committed.

    Returns:
        ``shard``, ``rows``, ``ok``, ``failed`` and ``problem``: subject and reason why it could not be
        committed, or None.
    """
    try:
        refuse_overtaken(work.layout.out, work.fencing_token)  # before a mark that its drive no longer sweeps
        with count_deaths(work.layout.part(number), work.fencing_token) as deaths:
            if deaths >= work.attempts:
                raise _fatal(work, number, deaths)
            rows, kept, music = _answered(work, number, alone if alone and deaths else engine)
            refuse_overtaken(work.layout.out, work.fencing_token)
            ledger.commit(work.layout, number, rows, music)
    except (BatchError, ClusterError) as err:
        return {"shard": number, "rows": 0, "ok": 0, "failed": 0, "problem": [str(err.subject), err.reason]}
    fresh = [row for row in rows if row["row"] not in kept]
    _log_failures(fresh)
    tell(fresh)
    ok = sum(row["status"] == "ok" for row in rows)
    return {"shard": number, "rows": len(rows), "ok": ok, "failed": len(rows) - ok, "problem": None}


def _fatal(work: Work, number: int, deaths: int) -> BatchError:
    rows = work.layout.rows_of(number)
    reason = f"{deaths} workers died over rows {rows[0]} to {rows[-1]}"
    return BatchError(work.layout.out, f"{reason}; give workers more memory and run again with --resume")


def _log_failures(rows: Sequence[StoredRow]) -> None:
    for row in rows:
        if row["status"] != "ok":
            log.warning("failed: %s", row["error"], extra={"row": row["row"], "item": row["id"]})


def _answered(work: Work, number: int, engine: Engine) -> tuple[list[StoredRow], set[int], dict[str, bytes]]:
    """The shard's results rows, in order, which of them are kept from before, and the music that is new."""
    entries = read_manifest_rows(work.layout, number)
    before = (ledger.read_part(work.layout, number) or []) if work.again else []
    rows = {row["row"]: row for row in before}
    kept = {row["row"] for row in before if row["status"] == "ok"}
    music: dict[str, bytes] = {}
    for batch in _batches([entry for entry in entries if entry.row not in kept], work):
        started = time.monotonic()
        answers = iter(engine([item for _, item in batch if isinstance(item, GenerationRequest)]))
        seconds = (time.monotonic() - started) / len(batch)
        for entry, item in batch:
            result, attempts = (
                next(answers)
                if isinstance(item, GenerationRequest)
                else (item, 0 if _is_hopeless(entry) else 1)
            )
            row = _ledger_row(entry, result, seconds)
            row["attempts"] = attempts + (rows[entry.row]["attempts"] if entry.row in rows else 0)
            rows[entry.row] = row
            if result.midi is not None:
                music[row["midi"]] = result.midi
    return [rows[entry.row] for entry in entries], kept, music


def _batches(
    entries: Sequence[ManifestRow], work: Work
) -> Iterator[list[tuple[ManifestRow, GenerationRequest | Result]]]:
    """Entries with their files read, as many at a time as memory is meant to hold."""
    batch: list[tuple[ManifestRow, GenerationRequest | Result]] = []
    size = 0
    for entry in entries:
        item = _item(entry, work)
        batch.append((entry, item))
        size += len(item.seed) + len(item.picture or b"") if isinstance(item, GenerationRequest) else 0
        if size >= MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _is_hopeless(entry: ManifestRow) -> bool:
    """Its cells are wrong, so it is not even tried: nothing on the disk could mend it."""
    return entry.error is not None and not entry.mendable


def _item(entry: ManifestRow, work: Work) -> GenerationRequest | Result:
    """The entry with its files read, or its failed result."""
    if _is_hopeless(entry):
        return Result(id=entry.id, status="failed", error=entry.error)
    try:
        data = {
            column: read_from(work.root, path, most_bytes=most_bytes, subject=column)
            for column, (path, most_bytes) in entry.files(work.limits).items()
        }
    except RequestError as err:
        return Result(id=entry.id, status="failed", error=str(err))
    return GenerationRequest(
        id=entry.id,
        seed=data["seed"],
        seed_name=entry.seed or "seed",
        picture=data.get("image"),
        picture_name=entry.image or "image",
        valence=entry.valence,
        arousal=entry.arousal,
        curve=parse_curve(entry.curve) if entry.curve else (),
        top_p=entry.top_p,
        notes=entry.notes,
        seconds=entry.seconds,
        temperature=entry.temperature,
        strength=work.strength if entry.strength is None else entry.strength,
        random_seed=entry.random_seed,
        guidance=entry.guidance or work.guidance,
        without_seed=work.without_seed,
    )


def _ledger_row(entry: ManifestRow, result: Result, seconds: float) -> StoredRow:
    return {
        "row": entry.row,
        "id": entry.id,
        "status": result.status,
        "error": None if result.error is None else _text(result.error),
        "label": result.label,
        "valence": result.valence,
        "faces": result.faces,
        "image_status": result.image_status,
        "seed_notes": result.seed_notes,
        "notes": result.notes,
        "midi": None if result.midi is None else ledger.music_path(entry.id),
        "sha256": None if result.midi is None else sha256(result.midi).hexdigest(),
        "attempts": 0,
        "milliseconds": round(1000 * seconds),  # its share: items of a shard are answered together
        "backend": result.backend,
    }


def _text(error: str) -> str:
    """An error as Arrow can hold it, whatever an unexpected exception had to say."""
    return error.encode("utf-8", "backslashreplace").decode()
