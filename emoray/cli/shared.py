"""What all commands share: the app, common options, files that a user names, the prints.

Conventions
-----------
A file that a command reads or writes as a whole may be a URI (``s3://``, ``gs://``, ``file://``): its option
has the settings ``ANYWHERE``, its argument the parser ``anywhere``. A folder that workers share, or that
another library opens, is a path on this machine: its option has the settings ``HERE``, its argument the
parser ``here``, which refuse a URI in one sentence before any work. Neither has a bare path.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import typer

from emoray import logs
from emoray.errors import ConfigError
from emoray.request import GuidanceName

log = logging.getLogger("emoray")

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

LogFormat = Literal[logs.LOG_FORMATS]  # type: ignore[valid-type]


def anywhere(text: str | Path) -> str:
    """A path or a URI that can be used, as the user wrote it.

    Raises:
        BatchError: it is a URI of an unknown kind, or a damaged one.

    >>> anywhere("music/sad.mid")
    'music/sad.mid'
    """
    if "://" in str(text):
        from emoray.storage import storage_path

        storage_path(str(text))
    return str(text)


def here(text: str | Path) -> Path:
    """A path on this machine, or on storage that all nodes mount.

    Raises:
        ConfigError: it is a URI of an object store.

    >>> here("s3://bucket/run")
    Traceback (most recent call last):
        ...
    emoray.errors.ConfigError: s3://...: is on an object store; give a path on storage that all nodes share
    """
    scheme, mark, _ = str(text).partition("://")
    if not mark:
        return Path(text)
    if scheme != "file":  # a URI may hold credentials, so it is not repeated
        raise ConfigError(
            f"{scheme}://...", "is on an object store; give a path on storage that all nodes share"
        )
    from emoray.storage import storage_path

    return Path(storage_path(str(text)).path)


ANYWHERE: dict[str, Any] = {"parser": anywhere, "metavar": "FILE"}
"""Settings of an option for a file that may be on an object store."""
HERE: dict[str, Any] = {"parser": here, "metavar": "PATH"}
"""Settings of an option for a file or folder on this machine."""


def checkpoint_here(text: str | Path) -> Path:
    """The folder of a checkpoint, by its path or by the name of one that ships with emoray."""
    from emoray.model.preset import checkpoint_folder

    return checkpoint_folder(here(text))


CHECKPOINT: dict[str, Any] = {"parser": checkpoint_here, "metavar": "FOLDER"}
"""Settings of an option for a checkpoint."""
Checkpoint = Annotated[
    Path | None,
    typer.Option(help="Checkpoint folder, or pretrained or baseline [default: pretrained].", **CHECKPOINT),
]
Faces = Annotated[str, typer.Option(help="Face backend: auto, deepface or fer-mini.")]
GuidanceMode = Annotated[GuidanceName | None, typer.Option(help="How the emotion bends the notes.")]
Local = Annotated[bool, typer.Option("--local", help="Work here even if RAY_ADDRESS names a cluster.")]
RandomSeed = Annotated[int, typer.Option(min=0, help="The same number, the same result.")]


@app.callback()
def common(
    log_format: Annotated[
        LogFormat, typer.Option(envvar=logs.VARIABLE, help="Of what is said on stderr, here and in workers.")
    ] = "text",
) -> None:
    """Piano music that starts from your melody and leans towards the emotion on your face."""
    os.environ[logs.VARIABLE] = log_format  # for the workers
    logs.set_up()


def complain(text: str) -> None:
    """Why a command ends early."""
    if logs.as_json():
        log.error(text)
    else:
        typer.echo(f"emoray: {text}", err=True)


def say(text: str) -> None:
    """One line of result."""
    typer.echo(text)


def beside(where: str, suffix: str) -> str:
    """The file of that name with another suffix.

    >>> beside("out/sad.mid", ".wav"), beside("s3://bucket/sad.mid?region=eu-1", ".png")
    ('out/sad.wav', 's3://bucket/sad.png?region=eu-1')
    """
    path, mark, options = where.partition("?") if "://" in where else (where, "", "")
    return f"{path.removesuffix(PurePath(path).suffix)}{suffix}{mark}{options}"
