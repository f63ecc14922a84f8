"""What all commands share: the app, the options they have in common, the one ``ray.init``, the prints."""

from __future__ import annotations

import logging
import os
import re
import signal
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from emoray import logs
from emoray.cli.cluster_head import answers, watch_head
from emoray.errors import ClusterError, ConfigError
from emoray.pipeline.resources import LIBRARIES
from emoray.request import GuidanceName

log = logging.getLogger("emoray")

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

LogFormat = Literal[logs.LOG_FORMATS]  # type: ignore[valid-type]

Checkpoint = Annotated[Path | None, typer.Option(help="Checkpoint folder; by default the one that ships.")]
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


def worker_environment(more: dict[str, str] | None = None) -> dict[str, Any]:
    """Ray's ``runtime_env`` of all workers, with ``more`` variables: they log as this process does."""
    variables = {**LIBRARIES, logs.VARIABLE: os.environ.get(logs.VARIABLE, "text"), **(more or {})}
    return {"env_vars": variables, "worker_process_setup_hook": f"{logs.__name__}.{logs.set_up.__name__}"}


def complain(text: str) -> None:
    """Why a command ends early."""
    if logs.as_json():
        log.error(text)
    else:
        typer.echo(f"emoray: {text}", err=True)


LOOKS = {
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.4",
    "LOG_NAME_UPDATE_INTERVAL_S": "5",
    "REPORTER_UPDATE_INTERVAL_MS": "10000",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
"""How often a Ray of our own looks after replicas, after logs that nobody follows, and at its machine: by its
defaults that takes a tenth of a core. Nor does a process watch whether the machine is about to go."""


def start_ray(*, local: bool = False, environment: dict[str, str] | None = None) -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine for this command alone.

    Args:
        local: start it even if a cluster is named.
        environment: variables of its workers, beside those of every command.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")  # progress is ours: progress.py
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S", "300")
    address = "local" if local else os.environ.get("RAY_ADDRESS", "local")
    here: dict[str, Any] = {}
    if address == "local":
        here["include_dashboard"] = False
        for name, pause in LOOKS.items():  # before Ray reads them, when it is imported
            os.environ.setdefault(name, pause)
    elif re.fullmatch(r"[^/]+:\d+", address) and not answers(address):  # Ray takes minutes to find that out
        reason = "does not answer; start the cluster, check RAY_ADDRESS or use --local"
        raise ClusterError(address, reason)
    import ray

    if ray.is_initialized():
        return
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=worker_environment(environment),
            **here,
        )
    except (ConnectionError, ValueError, RuntimeError) as err:
        reason = f"cannot be joined ({str(err).splitlines()[0]}); check RAY_ADDRESS or use --local"
        raise ClusterError(address, reason) from err
    if address != "local":
        watch_head(ray.get_runtime_context().gcs_address, complain)
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))  # Ray set its own handler
    for name in ("ray.data", "ray.train", "ray.serve", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)


RAY_START = 12.0
"""Seconds until Ray and the workers of Ray Data have started on a machine."""


def start_ray_for(seconds: float, *, local: bool) -> None:
    """``start_ray``, unless no cluster is named and this process would be done before Ray has started.

    Args:
        seconds: what the work takes one core, roughly.
        local: leave a cluster that is named alone.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    if seconds > RAY_START or ("RAY_ADDRESS" in os.environ and not local):
        start_ray(local=local)


def say(text: str) -> None:
    """One line of result."""
    typer.echo(text)


def read_bytes(path: Path) -> bytes:
    """A file that the user named.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as err:
        raise ConfigError(path, f"cannot be read ({err.strerror}); check the path") from err


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file where the user asked, and its folder.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as err:
        raise ConfigError(path, f"cannot be written ({err.strerror}); choose another place") from err


def render_beside(
    midi: Path, data: bytes, seed_notes: int, *, wav: Path | bool, png: Path | bool
) -> list[Path]:
    """Write sound and piano roll beside ``midi`` or where asked; which files were made."""
    from emoray.readers.midi import read_midi

    notes, made = read_midi(data, subject=midi), []
    if wav:
        from emoray.writers.audio import wav_bytes

        made.append(wav if isinstance(wav, Path) else midi.with_suffix(".wav"))
        write_bytes(made[-1], wav_bytes(notes))
    if png:
        from emoray.writers.plot import piano_roll

        made.append(png if isinstance(png, Path) else midi.with_suffix(".png"))
        write_bytes(made[-1], piano_roll(notes, seed_notes=seed_notes, title=midi.stem))
    return made
