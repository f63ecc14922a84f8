"""Batch driver: a manifest to many files of music and a results row for each of its rows, by Ray Data.

Conventions
-----------
The driver decides which shards are pending and hands their numbers to Ray Data. A worker reads the rows of a
shard, answers them, commits music and results by itself and returns only a summary. So a killed driver loses
at most the shards under way, and Ray may run a shard twice without harm. ``batch/ledger.py`` has the files
and the reason why Ray Data's own checkpoint is not used. Ray must be connected already (``cli``).
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray.data

from emoray.batch import ledger
from emoray.batch.audit import Status, status_of
from emoray.batch.folder import RUN, BatchSettings, Run, even_shard_rows, refuse_foreign, versions
from emoray.batch.ledger import Layout
from emoray.batch.publish import hold_folder, refuse_overtaken, sweep
from emoray.batch.shard import Engine, Work
from emoray.batch.stored_manifest import CheckedRow, difference, read_manifest_rows, write_manifest_rows
from emoray.errors import BatchError, ManifestError
from emoray.pipeline.engines import EnginePlan, plan_engine
from emoray.pipeline.resources import report_waits
from emoray.pipeline.worker import process_shards_recorded
from emoray.progress import Meter
from emoray.readers.manifest import open_manifest
from emoray.storage import StoragePath, error_text, storage_path

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended: every row has its result."""

    rows: int
    ok: int
    failed: int
    seconds: float
    """Of this run of the driver."""
    reasons: dict[str, int]
    """Why rows failed, the most frequent reason first."""


def run_batch(
    manifest: str | Path | StoragePath,
    out: str | Path | StoragePath,
    settings: BatchSettings | None = None,
    *,
    resume: bool = False,
    root: str | Path | StoragePath | None = None,
    engine: EnginePlan | None = None,
) -> Summary:
    """Answer every row of a manifest, or those that an earlier run of the same batch left.

    Args:
        manifest: JSONL, CSV or Parquet; like ``out`` and ``root`` a local path or a URI (``storage.py``).
        out: the batch folder; new or empty, unless ``resume``.
        settings: how to answer.
        resume: go on with what is in ``out``, if anything is.
        root: where the manifest's paths start from; its own folder if None.
        engine: generates the results; None is what the settings name.

    Raises:
        ManifestError: the manifest as a whole cannot be used.
        BatchError: the folder is in use, belongs to another batch, or cannot be written.
        ClusterError: the cluster is too small or lost its service.
        CheckpointError, ConfigError, WeightsError: the engine cannot be had.
        KeyboardInterrupt: interrupted; its text says how far the batch is.
    """
    started = time.monotonic()
    settings, folder = (settings or BatchSettings()).anywhere(), storage_path(out)
    table, start = (
        storage_path(manifest),
        _resolved(storage_path(manifest).parent if root is None else storage_path(root)),
    )
    checked = open_manifest(_read(table), name=table.name)
    engine = engine or plan_engine(settings, checked.rows)
    engine.check_cluster()
    manifest_is = {"manifest": hashlib.sha256(checked.data).hexdigest(), "root": str(start)}
    run = Run(
        identity=manifest_is | engine.identity(settings),
        settings=asdict(settings),
        manifest=str(table),
        root=start.uri,
        rows=checked.rows,
        shard_rows=settings.shard_rows or even_shard_rows(checked.rows, engine.workers),
        versions=versions(),
    )
    refuse_foreign(folder)
    with hold_folder(folder) as token:
        sweep(folder)
        run = _stored_run(run, folder, checked.requests(), token, resume=resume)
        del checked  # a large manifest, and from here on the stored one counts
        layout = run.layout(folder)
        work = _work(layout, start, token, engine, settings)
        _run_shards(layout, ledger.pending(layout), work, engine)
        return _summary(status_of(layout), started)


def retry_failed(
    out: str | Path | StoragePath, settings: BatchSettings | None = None, *, engine: EnginePlan | None = None
) -> Summary:
    """Answer the failed rows of a complete batch again; files that were mended since are read anew.

    A shard's part is replaced as a whole once its rows have been redone, so a crash loses nothing.

    Args:
        out: the batch folder.
        settings: those of the first run if None; they must mean the same music.
        engine: generates the results; None is what the settings name.

    Raises:
        BatchError, ClusterError, KeyboardInterrupt: see ``run_batch``; or the batch is not complete.
    """
    started, folder = time.monotonic(), storage_path(out)
    run = Run.load(folder)
    settings = settings.anywhere() if settings else run.stored_settings()
    engine = engine or plan_engine(settings, run.rows)
    engine.check_cluster()
    run.refuse_other(engine.identity(settings), folder)
    with hold_folder(folder) as token:
        layout = run.layout(folder)
        if ledger.pending(layout):
            raise BatchError(folder, "is not complete; finish it with --resume first")
        sweep(folder)
        work = _work(layout, storage_path(run.root), token, engine, settings, again=True)
        _run_shards(layout, ledger.failed_shards(layout), work, engine)
        return _summary(status_of(layout), started)


def _read(manifest: StoragePath) -> bytes:
    try:
        return manifest.read_bytes()
    except OSError as err:
        raise ManifestError(manifest, f"cannot be read ({error_text(err)}); check the path") from err


def _resolved(root: StoragePath) -> StoragePath:
    return root if root.local is None else storage_path(root.local.resolve())


def _stored_run(
    run: Run, out: StoragePath, requests: Iterable[CheckedRow], token: int, *, resume: bool
) -> Run:
    """The run that the folder holds, if this one may continue it; else this one, written down."""
    if not (out / RUN).exists():
        write_manifest_rows(run.layout(out), requests)
        refuse_overtaken(out, token)
        run.save(out)
        return run
    stored = Run.load(out)
    stored.refuse_other(run.identity, out, lambda: _difference(stored.layout(out), requests))
    changed = [
        f"{name} {stored.versions.get(name)}"
        for name in run.versions
        if run.versions[name] != stored.versions.get(name)
    ]
    if changed:
        log.warning("%s was begun with %s; the rest of its music may differ", out, ", ".join(changed))
    if not resume:
        status = status_of(stored.layout(out))
        if status.complete:
            raise BatchError(out, f"is complete ({status.rows:,} rows); read it with `emoray batch results`")
        raise BatchError(out, f"is unfinished ({status.done:,} of {status.rows:,} rows); use --resume")
    return stored


def _difference(layout: Layout, requests: Iterable[CheckedRow]) -> str:
    """How the manifest differs from the stored one; nothing if that one cannot be read."""
    stored = (row for number in layout.shards for row in read_manifest_rows(layout, number))
    try:
        return difference(stored, requests)
    except BatchError:
        return ""


def _work(
    layout: Layout,
    root: StoragePath,
    token: int,
    engine: EnginePlan,
    settings: BatchSettings,
    *,
    again: bool = False,
) -> Work:
    return Work(
        layout=layout,
        root=root,
        fencing_token=token,
        guidance=settings.guidance or engine.guidance,
        strength=settings.strength,
        without_seed=settings.without_seed,
        attempts=settings.attempts,
        again=again,
    )


def _run_shards(layout: Layout, shards: Sequence[int], work: Work, engine: EnginePlan) -> None:
    """Have the shards done, and leave no scratch file.

    Raises:
        BatchError: one could not be committed.
        KeyboardInterrupt: with how far the batch is.
    """
    if not shards:
        return
    name = hashlib.sha256(str(layout.out).encode()).hexdigest()[:8]
    try:
        with engine.start(name) as build, Meter("batch", _rows(layout, shards), "rows") as meter:
            for summary in _summaries(shards, work, engine, build):
                if summary["problem"] is not None:
                    raise BatchError(*summary["problem"])
                meter.advance(summary["rows"])
        sweep(layout.out)  # what a worker that died left: no other run may come to do it
    except KeyboardInterrupt:
        done = status_of(layout).done
        text = f"interrupted: {done:,} of {layout.rows:,} rows done; run again with --resume"
        raise KeyboardInterrupt(text) from None


def _summaries(
    shards: Sequence[int], work: Work, engine: EnginePlan, build: Callable[[], Engine]
) -> Iterator[Any]:
    """A summary of each shard, as they get done; closing this stops the rest."""
    blocks = [pa.table({"shard": pa.array([number], pa.int64())}) for number in shards]
    dataset = ray.data.from_blocks(blocks).map_batches(  # ``from_arrow`` runs a task of a whole CPU for each
        process_shards_recorded,
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.TaskPoolStrategy(size=min(engine.workers, len(shards))),
        num_cpus=engine.worker_cpus,
        fn_kwargs={"work": work, "build": build, "alone": engine.alone},
    )
    dataset.context.execution_no_progress_timeout_s = -1  # a shard of long recordings may take an hour
    with report_waits("batch", {"CPU": engine.worker_cpus}):
        yield from dataset.iter_rows()


def _rows(layout: Layout, shards: Sequence[int]) -> int:
    return sum(len(layout.rows_of(number)) for number in shards)


def _summary(status: Status, started: float) -> Summary:
    return Summary(
        rows=status.rows,
        ok=status.ok,
        failed=status.failed,
        seconds=time.monotonic() - started,
        reasons=status.reasons,
    )
