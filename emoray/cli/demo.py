"""The demo: everything once, on the embedded pieces, with the shipped network for the music."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from emoray.cli.learning import cluster, ingest, train
from emoray.cli.shared import ANYWHERE, HERE, Checkpoint, GuidanceMode, app, say
from emoray.errors import ConfigError

MARK = ".emoray-demo"
"""A folder with this file in it is a demo's, and the next demo may replace it."""
PRESET, EPOCHS, EPOCH_WINDOWS = "baseline", 3, 2_000
"""Of the training; an epoch of this preset takes seconds, one of the expressive preset minutes."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where everything goes.", **HERE)] = Path("demo-out"),
) -> None:
    """Ingest, cluster, train, and answer a batch, on music and a picture that ship with emoray."""
    from emoray.demo.files import write_demo

    _fresh(out)
    say("1. The embedded pieces")
    files = write_demo(out / "input")
    say("2. Ingest")
    ingest(files.midi, out=out / "corpus", metadata=files.metadata, local=True)
    say("3. Emotion clusters")
    cluster(out / "corpus", out=str(out / "emotion.json"), preset=PRESET, labels=files.labels, local=True)
    say(f"4. Train: {EPOCHS} short epochs of the small network, to see it work; the shipped one composes")
    train(
        out / "corpus",
        emotion=out / "emotion.json",
        out=out / "run",
        preset=PRESET,
        epochs=EPOCHS,
        epoch_windows=EPOCH_WINDOWS,
        local=True,
    )
    say("5. A batch through Ray Serve")
    rows = _batch(files.manifest, out / "batch")
    say("6. Sound and pictures")
    for row in rows:
        if row["midi"]:
            _render(out, row)
    say("")
    say("Listen to, and look at the .png beside each:")
    for row in rows:
        say(f"  {out / 'music' / row['id']}.wav")
    say(f"Look at: {out / 'emotion.png'}, {out / 'run' / 'loss.png'}")


@app.command()
def gallery(
    out: Annotated[str, typer.Option(help="The folder.", **ANYWHERE)] = "docs/gallery",
    checkpoint: Checkpoint = None,
    guidance: GuidanceMode = None,
) -> None:
    """Compose five seeds without an emotion, happy and sad, with pictures, two sounds and a page."""
    from emoray.composer import load
    from emoray.gallery import make_gallery

    files = make_gallery(out, load(checkpoint), guidance)
    say(f"{out}: {len(files)} files; look at {out}/README.md")


def _fresh(out: Path) -> None:
    """An empty folder with our mark; an older demo's folder is replaced, anything else is not."""
    if out.exists() and not (out / MARK).is_file():
        raise ConfigError(out, "exists and is not a demo's; choose another with --out")
    shutil.rmtree(out, ignore_errors=True)
    try:
        out.mkdir(parents=True)
        (out / MARK).touch()
    except OSError as err:
        raise ConfigError(out, f"cannot be written ({err.strerror}); choose another with --out") from err


def _batch(manifest: Path, out: Path) -> list[dict[str, Any]]:
    from emoray.batch.audit import results
    from emoray.pipeline.batch_driver import run_batch

    summary = run_batch(manifest, out)
    rows = [dict(row) for row in results(out)]
    for row in rows:
        mood = {1: "happy", -1: "sad", 0: "neutral"}.get(row["label"], "")
        what = f"{row['notes']} notes, {mood}" if row["midi"] else row["error"]
        say(f"  {row['id']:28} {row['status']:7} {what}")
    say(f"{out}: {summary.rows} rows, {summary.ok} ok, {summary.failed} failed, {summary.seconds:.0f} s")
    return rows


def _render(out: Path, row: dict[str, Any]) -> None:
    """Music of one row under a name for people, with its sound and piano roll."""
    from emoray.piece import Piece
    from emoray.recognition import read_notes

    notes = read_notes(out / "batch" / row["midi"])
    piece = Piece(notes=notes, seed_notes=row["seed_notes"] or 0, name=row["id"])
    for suffix in (".mid", ".wav", ".png"):
        piece.save(out / "music" / f"{row['id']}{suffix}")
