"""The command that plans a batch: how long, what it needs, what limits it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emoray.cli.batch import Engine
from emoray.cli.shared import HERE, Checkpoint, Faces, GuidanceMode, app, say
from emoray.errors import ConfigError
from emoray.request import DEFAULT_NOTES

if TYPE_CHECKING:
    from emoray.planning.estimate import Machines, Plan, UnitCosts, Workload

BUSY = 0.8
"""Of a core; a calibration that got less is said to have been disturbed."""


@app.command()
def plan(
    rows: Annotated[int | None, typer.Option(min=1, help="Of the batch; or give --manifest.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    cpus: Annotated[int | None, typer.Option(min=1, help="Of each [default: as many as here].")] = None,
    gpus: Annotated[int, typer.Option(min=0, help="Of each; nobody has measured one.")] = 0,
    notes: Annotated[int, typer.Option(min=1, help="Composed for each row.")] = DEFAULT_NOTES,
    voices: Annotated[float, typer.Option(min=0, max=1, help="Share of rows with a recording.")] = 0.0,
    pictures: Annotated[float, typer.Option(min=0, max=1, help="Share of rows with a picture.")] = 0.0,
    manifest: Annotated[
        Path | None, typer.Option(help="Take rows, lengths and shares from it.", **HERE)
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where paths start [default: manifest's folder].", **HERE)
    ] = None,
    engine: Annotated[Engine, typer.Option(help="Through Ray Serve, or inside Ray Data.")] = "serve",
    checkpoint: Checkpoint = None,
    guidance: GuidanceMode = None,
    faces: Faces = "auto",
    storage: Annotated[Path, typer.Option(help="A folder on the storage of the batch.", **HERE)] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell how long a batch will take, after measuring its steps here for some seconds."""
    from emoray.planning import estimate, measurement
    from emoray.storage import read_file

    if (rows is None) == (manifest is None):
        raise ConfigError("plan", "needs either --rows or --manifest; give one of them")
    if manifest is not None:
        found = measurement.survey(read_file(manifest), manifest.name, root or manifest.parent, engine)
    else:
        asked = estimate.Workload(
            rows=rows or 0, notes=notes, voices=voices, pictures=pictures, engine=engine
        )
        found = measurement.assumed(asked)
    setting = measurement.Setting(
        samples=found.samples,
        checkpoint=checkpoint,
        guidance=guidance,
        faces=faces,
        folder=storage,
    )
    machines = estimate.Machines(nodes=nodes, cpus=cpus or measurement.CORES)
    measured = measurement.calibrate(setting, found.intake)
    made = estimate.plan(found.work, machines, measured)
    gains = estimate.faster(found.work, machines, measured)
    if as_json:
        say(json.dumps(_as_json(found.work, machines, measured, made, gains) | {"gpus": gpus}, indent=2))
        return
    for line in _lines(found.work, machines, made):
        say(line)
    for what, seconds in gains:
        say(f"  with {what}: {_time(seconds)}")
    say("Assumed:")
    for line in _assumptions(found.work, measured, made, gpus):
        say(f"  {line}")


def _lines(work: Workload, machines: Machines, made: Plan) -> Iterator[str]:
    where = f"{machines.nodes} x {machines.cpus} CPUs"
    yield f"{work.rows:,} rows by engine {work.engine} on {where}: {_time(made.seconds)}"
    yield f"  {work.rows / made.seconds:,.1f} rows a second; {_time(made.cpu_seconds)} of CPU"
    for stage, seconds in sorted(made.spent.items(), key=lambda item: -item[1]):
        yield f"  {stage:20} {_time(seconds):>10} {seconds / made.seconds:5.0%}"
    node, driver = made.node_bytes / 1e9, made.driver_bytes / 1e9
    yield f"Memory: at most {node:.1f} GB a node, {driver:.1f} GB more where the driver is"
    yield f"Storage: {made.files:,} files, {made.disk_bytes / 1e9:,.2f} GB"
    yield f"What limits it: {made.limit}. What would make it faster:"


def _assumptions(work: Workload, costs: UnitCosts, made: Plan, gpus: int) -> Iterator[str]:
    from emoray.planning.estimate import composed
    from emoray.planning.measurement import CORES

    mix = f"{work.voices:.0%} recordings, {work.pictures:.0%} pictures"
    yield f"rows of {composed(work, costs):.0f} composed notes, {mix}"
    yield f"{made.workers:,} workers, shards of {made.shard_rows} rows"
    yield f"CPUs like those here, where {CORES} at once were measured, a worker on each, nothing else to do"
    yield "storage as fast for all nodes together as for this one; a network was not measured"
    yield "Ray's start, tasks and memory as measured once on two cores; Serve's messages are not counted"
    if costs.share < BUSY:
        yield (
            f"this machine does nothing else: it was busy, the calibration got {costs.share:.0%} of a core;"
            " try again when it is idle"
        )
    if work.pictures and not costs.picture.each:
        yield "pictures cost nothing: none was there to measure"
    if gpus:
        without = made.seconds - made.spent.get("composing", 0.0)
        yield (
            f"the GPUs do nothing: batches ask Ray for none, and composing on one is unmeasured; if they did,"
            f" the rest would still take {_time(without)}"
        )


def _as_json(
    work: Workload, machines: Machines, costs: UnitCosts, made: Plan, gains: list[tuple[str, float]]
) -> dict[str, Any]:
    return {
        "seconds": made.seconds,
        "limit": made.limit,
        "plan": dataclasses.asdict(made),
        "faster": dict(gains),
        "work": dataclasses.asdict(work),
        "machines": dataclasses.asdict(machines),
        "costs": dataclasses.asdict(costs),
    }


def _time(seconds: float) -> str:
    """For people.

    >>> _time(12.3), _time(312), _time(9000)
    ('12 s', '5 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
