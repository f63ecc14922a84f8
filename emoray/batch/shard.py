"""Shard: the rows that one worker generates and commits together; without Ray.

Whatever is wrong with a row is the error of its stored row. What is wrong with the folder (disk full, lock
taken over, Serve gone) is the ``problem`` of the shard, which the driver raises: it would hit every other
shard as well.

A request can also end the process that works on it (out of memory, a crash in a library), or never end. A
worker that finds that its shard killed another (``publish.py``) no longer generates all rows together but one
after the other, each in a process of its own. So the request at fault is found, tried a few times and failed,
and its neighbours get their music.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from emoray.batch import ledger
from emoray.batch.ledger import Layout, StoredRow, stored_row
from emoray.batch.publish import count_deaths, refuse_overtaken
from emoray.batch.stored_manifest import CheckedRow, read_manifest_rows
from emoray.config import Limits
from emoray.errors import BatchError, ClusterError, RequestError
from emoray.generation import broken, failed, write
from emoray.readers.manifest import read_files
from emoray.request import GenerationRequest, Result
from emoray.storage import StoragePath

log = logging.getLogger(__name__)

Engine = Callable[[Sequence[GenerationRequest]], list[tuple[Result, int]]]
"""Requests to (result, attempts it took), in order; it raises nothing that a single request brings along."""
OnCommit = Callable[[Sequence[StoredRow]], None]
"""Gets the rows of a shard that were generated anew, once they are committed."""
MOST_BYTES = 256_000_000
"""Seeds and pictures that are in memory at once: a shard of large recordings goes in pieces."""


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
"""The engine of this process, by the run it was built for: Ray runs many tasks in one process."""


def process_shards(
    shards: pa.Table,
    work: Work,
    build: Callable[[], Engine],
    alone: Engine | None = None,
    on_commit: OnCommit = lambda _: None,
) -> pa.Table:
    """[shard] to rows of ``SUMMARY``: a task of Ray Data."""
    run = (str(work.layout.out), work.fencing_token)

    def engine(requests: Sequence[GenerationRequest]) -> list[tuple[Result, int]]:
        if run not in _engines:  # only now: a shard whose requests go alone needs none
            _engines.clear()
            _engines[run] = build()
        return _engines[run](requests)

    done = [process_shard(work, number, engine, alone, on_commit) for number in shards["shard"].to_pylist()]
    return pa.Table.from_pylist(done, SUMMARY)


def process_shard(
    work: Work, number: int, engine: Engine, alone: Engine | None = None, on_commit: OnCommit = lambda _: None
) -> dict[str, Any]:
    """Generate the music of a shard and commit it.

    Args:
        work: what the run is.
        number: of the shard.
        engine: generates all rows together.
        alone: generates each apart, once a worker died over the shard; None is ``engine`` again.
        on_commit: gets the rows that were generated, once they are committed.

    Returns:
        ``shard``, ``rows``, ``ok``, ``failed`` and ``problem``: subject and reason why it could not be
        committed, or None.
    """
    try:
        refuse_overtaken(
            work.layout.out, work.fencing_token
        )  # before it leaves a mark that its run would no longer sweep
        with count_deaths(work.layout.part(number), work.fencing_token) as deaths:
            if deaths >= work.attempts:
                raise _fatal(work, number, deaths)
            rows, kept, music = _generated(work, number, alone if alone and deaths else engine)
            refuse_overtaken(work.layout.out, work.fencing_token)
            ledger.commit(work.layout, number, rows, music)
    except (BatchError, ClusterError) as err:
        return {"shard": number, "rows": 0, "ok": 0, "failed": 0, "problem": [str(err.subject), err.reason]}
    generated = [row for row in rows if row["row"] not in kept]
    _log_failures(generated)
    on_commit(generated)
    ok = sum(row["status"] == "ok" for row in rows)
    return {"shard": number, "rows": len(rows), "ok": ok, "failed": len(rows) - ok, "problem": None}


def _fatal(work: Work, number: int, deaths: int) -> BatchError:
    rows = work.layout.rows_of(number)
    reason = f"{deaths} workers died over rows {rows[0]} to {rows[-1]}"
    return BatchError(work.layout.out, f"{reason}; give workers more memory and run again with --resume")


def _log_failures(rows: Sequence[StoredRow]) -> None:
    for row in rows:
        if row["status"] != "ok":
            log.warning("failed: %s", row["error"], extra={"row": row["row"], "request": row["id"]})


def _generated(work: Work, number: int, engine: Engine) -> tuple[list[StoredRow], set[int], dict[str, bytes]]:
    """The shard's stored rows, in order, which of them are kept from before, and the music that is new."""
    manifest = dict(zip(work.layout.rows_of(number), read_manifest_rows(work.layout, number), strict=True))
    before = (ledger.read_part(work.layout, number) or []) if work.again else []
    rows = {row["row"]: row for row in before}
    kept = {row["row"] for row in before if row["status"] == "ok"}
    music: dict[str, bytes] = {}
    for batch in _batches([pair for pair in manifest.items() if pair[0] not in kept], work):
        started = time.monotonic()
        results = iter(engine([asked for _, asked in batch if isinstance(asked, GenerationRequest)]))
        found = [
            (row, *next(results))
            if isinstance(asked, GenerationRequest)
            else (row, asked, int(isinstance(manifest[row], GenerationRequest)))  # its files are not there
            for row, asked in batch
        ]
        milliseconds = round(1000 * (time.monotonic() - started) / len(batch))  # each has its share
        for row, result, attempts in found:
            stored, data = _written(result)
            attempts += rows[row]["attempts"] if row in rows else 0
            rows[row] = stored_row(row, stored, data, attempts=attempts, milliseconds=milliseconds)
            if data is not None:
                music[rows[row]["midi"]] = data
    return [rows[row] for row in work.layout.rows_of(number)], kept, music


def _written(result: Result) -> tuple[Result, bytes | None]:
    """The result and the bytes of its music; a bug in writing is the error of this row alone."""
    try:
        return result, write(result)
    except Exception as err:
        log.exception("unexpected error", extra={"request": result.id})
        return broken(result.id, f"{type(err).__name__}: {err}".splitlines()[0]), None


def _batches(
    manifest: Sequence[tuple[int, CheckedRow]], work: Work
) -> Iterator[list[tuple[int, CheckedRow]]]:
    """Rows and requests with their files read, as many at a time as memory is meant to hold."""
    batch: list[tuple[int, CheckedRow]] = []
    size = 0
    for row, asked in manifest:
        request = _read(asked, work) if isinstance(asked, GenerationRequest) else asked
        batch.append((row, request))
        size += request.size if isinstance(request, GenerationRequest) else 0
        if size >= MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read(request: GenerationRequest, work: Work) -> CheckedRow:
    """The request with its files and, where it names none, the settings of the run; or its failed result."""
    try:
        request = read_files(request, work.root, work.limits)
    except RequestError as err:
        return failed(request, err)
    settings = {"guidance": work.guidance, "strength": work.strength, "without_seed": work.without_seed}
    return request.with_defaults(**settings)
