"""Commands of a batch: run, status, results, verify, retry-failed."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from emoray.cli.options import takes_options
from emoray.cli.ray_session import start_ray
from emoray.cli.shared import Checkpoint, Faces, Local, app, say
from emoray.progress import PLAIN_EVERY, Meter
from emoray.request import checked_options

if TYPE_CHECKING:
    from emoray.batch.audit import Status

batch = typer.Typer(help="Answer a manifest of picture and seed pairs.", no_args_is_help=True)
app.add_typer(batch, name="batch")

Engine = Literal["serve", "data"]
"""Those of ``batch.folder.ENGINES``."""


@batch.command("run")
@takes_options("guidance", "strength", "without_seed")
def batch_run(
    manifest: Annotated[str, typer.Argument(help="JSONL, CSV or Parquet: id, seed, image or emotion, ...")],
    out: Annotated[str, typer.Option(help="The batch folder; a path, s3:// or gs://, as all places here.")],
    checkpoint: Checkpoint = None,
    engine: Annotated[Engine, typer.Option(help="Through Ray Serve, or inside Ray Data.")] = "serve",
    root: Annotated[str | None, typer.Option(help="Where paths start [default: manifest's folder].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the batch in the folder.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Ray Data actors.")] = None,
    shard_rows: Annotated[
        int | None, typer.Option(min=1, help="Rows committed together [default: at most 64].")
    ] = None,
    faces: Faces = "auto",
    local: Local = False,
    **options: Any,
) -> None:
    """Answer every row of a manifest: music for the good, a reason for the bad.

    --guidance, --strength and --without-seed are for rows that say nothing of them.
    """
    from emoray.batch.folder import BatchSettings

    settings = BatchSettings(
        checkpoint=checkpoint.resolve() if checkpoint else None,
        engine=engine,
        workers=workers,
        shard_rows=shard_rows,
        faces=faces,
        **checked_options(**options),
    )
    start_ray(local=local)
    from emoray.pipeline.batch_driver import run_batch

    _tell(out, run_batch(manifest, out, settings, resume=resume, root=root))


@batch.command("status")
def batch_status(
    out: Annotated[str, typer.Argument(help="A batch folder.")],
    follow: Annotated[
        bool, typer.Option("--watch", help="Go on until it is complete or its driver has ended.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line, for machines.")] = False,
) -> None:
    """How far a batch is."""
    from emoray.batch.audit import watch

    look = watch(out).look
    found = look()
    if follow and as_json:
        while found.running is not False and not found.complete:
            say(_as_json(found))
            time.sleep(PLAIN_EVERY)
            found = look()
    elif follow:
        found = _followed(found, look)
    say(_as_json(found) if as_json else f"{out}: {_as_text(found)}")


def _followed(found: Status, look: Callable[[], Status]) -> Status:
    """The last status, after progress has shown those before it; looks only at what is new."""
    pause = 1.0 if sys.stderr.isatty() else PLAIN_EVERY
    with Meter("batch", found.rows, "rows", before=found.done) as meter:
        while found.running is not False and not found.complete:
            time.sleep(pause)
            found = look()
            if more := found.done - meter.done:
                meter.advance(more, f"{meter.rate(more):.3g} rows/s, {found.failed:,} failed")
    return found


def _as_text(found: Status) -> str:
    stopped = "stopped" if found.running is False else "running or stopped"
    state = "running" if found.running else "complete" if found.complete else f"{stopped}; use --resume"
    return f"{found.done:,} of {found.rows:,} rows done, {found.ok:,} ok, {found.failed:,} failed; {state}"


def _as_json(found: Status) -> str:
    names = ("rows", "done", "ok", "failed", "running", "complete", "reasons")
    return json.dumps({name: getattr(found, name) for name in names})


@batch.command("results")
def batch_results(out: Annotated[str, typer.Argument(help="A batch folder.")]) -> None:
    """The ledger: one JSON object a line, in the order of the manifest."""
    from emoray.batch.audit import results

    for row in results(out):
        say(json.dumps(row))


@batch.command("verify")
def batch_verify(out: Annotated[str, typer.Argument(help="A batch folder.")]) -> None:
    """Check that every row is there once, and every file as it was written."""
    from emoray.batch.audit import verify

    found = verify(out)
    problems = {name: value for name, value in dataclasses.asdict(found).items() if value}
    say(f"{out}: {'sound' if found.sound else 'not sound'}")
    for name, value in problems.items():
        shown = f"{len(value):,}: {', '.join(value[:5])}" if isinstance(value, list) else f"{value:,} rows"
        say(f"  {name} {shown}")
    raise typer.Exit(0 if found.sound else 3)


@batch.command("retry-failed")
def batch_retry(
    out: Annotated[str, typer.Argument(help="A complete batch folder.")], local: Local = False
) -> None:
    """Answer the failed rows of a batch again."""
    start_ray(local=local)
    from emoray.pipeline.batch_driver import retry_failed

    _tell(out, retry_failed(out))


def _tell(out: str, summary: Any) -> None:
    """The end of a batch; exit 3 if rows failed."""
    say(
        f"{out}: {summary.rows:,} rows, {summary.ok:,} ok, {summary.failed:,} failed, {summary.seconds:.0f} s"
    )
    for reason, count in summary.reasons.items():
        say(f"  {count:,} x {reason}")
    raise typer.Exit(3 if summary.failed else 0)
