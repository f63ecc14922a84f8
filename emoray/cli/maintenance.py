"""Commands that look after an installation: doctor, weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emoray.cli.shared import HERE, app, here, say

weights = typer.Typer(help="The emotion weights of DeepFace.", no_args_is_help=True)
app.add_typer(weights, name="weights")


@app.command()
def doctor() -> None:
    """Tell what is installed, what is missing, and how to mend it."""
    from emoray.doctor import examine

    missing = 0
    for check in examine():
        missing += not check.ok and not check.optional
        mark = "ok" if check.ok else "--" if check.optional else "MISSING"
        remedy = f"; {check.remedy}" if check.remedy and not check.ok else ""
        say(f"{mark:8}{check.name:32}{check.detail}{remedy}")
    raise typer.Exit(2 if missing else 0)


@weights.command("fetch")
def weights_fetch(
    to: Annotated[Path | None, typer.Option(help="Home folder of DeepFace.", **HERE)] = None,
    url: Annotated[str | None, typer.Option(help="A mirror.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Refuse any other file.")] = None,
) -> None:
    """Download DeepFace's emotion weights once; workers never do."""
    from emoray.readers import deepface_weights

    found = deepface_weights.fetch(to, url, sha256=sha256)
    say(f"{found.path}: sha256 {found.sha256}, from {found.origin}")


@weights.command("import")
def weights_import(
    source: Annotated[Path, typer.Argument(help="An .onnx file from elsewhere.", parser=here)],
    to: Annotated[Path | None, typer.Option(help="Home folder of DeepFace.", **HERE)] = None,
    sha256: Annotated[str | None, typer.Option(help="Refuse any other file.")] = None,
) -> None:
    """Install DeepFace's emotion weights from a file, on a machine without a network."""
    from emoray.readers import deepface_weights

    found = deepface_weights.import_file(source, to, sha256=sha256)
    say(f"{found.path}: sha256 {found.sha256}, from {found.origin}")
