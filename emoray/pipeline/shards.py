"""Grains: what a worker of Ray Data runs, ``batch/shard.py`` with its figures recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from emoray.batch.ledger import StoredRow
from emoray.batch.shard import Engine, Work, process_shards
from emoray.pipeline.metrics import record


def process_shards_recorded(
    shards: pa.Table, work: Work, build: Callable[[], Engine], alone: Engine | None
) -> pa.Table:
    """``process_shards``: runs in a worker."""
    done = process_shards(shards, work, build, alone, tell=record_rows)
    for problem in done["problem"].to_pylist():
        record("emoray_batch_shards_total", outcome="committed" if problem is None else "refused")
    return done


def record_rows(rows: Sequence[StoredRow]) -> None:
    """The figures of rows that were answered and committed."""
    for row in rows:
        record("emoray_batch_rows_total", status=row["status"])
        record("emoray_batch_row_seconds", row["milliseconds"] / 1000)
