"""Grains: what a worker of Ray Data runs, ``batch/grain.py`` with its figures recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from emoray.batch.grain import Engine, Work, do_grains
from emoray.batch.ledger import LedgerRow
from emoray.pipeline.metrics import record


def do_grains_recorded(
    grains: pa.Table, work: Work, build: Callable[[], Engine], alone: Engine | None
) -> pa.Table:
    """``do_grains``: runs in a worker."""
    done = do_grains(grains, work, build, alone, tell=record_rows)
    for problem in done["problem"].to_pylist():
        record("emoray_batch_grains_total", outcome="committed" if problem is None else "refused")
    return done


def record_rows(rows: Sequence[LedgerRow]) -> None:
    """The figures of rows that were answered and committed."""
    for row in rows:
        record("emoray_batch_rows_total", status=row["status"])
        record("emoray_batch_row_seconds", row["milliseconds"] / 1000)
