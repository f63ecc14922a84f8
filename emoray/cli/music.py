"""Commands that make and read music for people: generate, render, emotion, serve."""

from __future__ import annotations

import dataclasses
import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emoray.cli.options import takes_options
from emoray.cli.ray_session import start_ray
from emoray.cli.shared import (
    ANYWHERE,
    Checkpoint,
    Faces,
    GuidanceMode,
    Local,
    anywhere,
    app,
    beside,
    complain,
    say,
)
from emoray.errors import ConfigError, EmorayError
from emoray.pipeline.resources import RELAYING
from emoray.request import REQUEST_OPTIONS

if TYPE_CHECKING:
    from emoray.piece import Piece
    from emoray.recognition import EmotionEstimate


@app.command()
@takes_options(*(name for name in REQUEST_OPTIONS if name != "id"))
def generate(
    out: Annotated[str, typer.Option(help="Where the music goes: a .mid, .wav, .mp3 or .png.", **ANYWHERE)],
    checkpoint: Checkpoint = None,
    wav: Annotated[bool, typer.Option("--wav", help="A .wav beside it.")] = False,
    png: Annotated[bool, typer.Option("--png", help="A piano roll beside it.")] = False,
    faces: Faces = "auto",
    **options: Any,
) -> None:
    """Compose one piece from a seed and an emotion."""
    from emoray.composer import load
    from emoray.piece import suffix_of

    suffix_of(out)
    if options["curve"]:
        options["curve"] = _text_or_file(options["curve"])
    piece = load(checkpoint, faces=faces).generate(**options)
    files = [out, *(beside(out, suffix) for suffix, wanted in ((".wav", wav), (".png", png)) if wanted)]
    _save(piece, *files)
    face_model = f" ({piece.face_model})" if piece.face_model else ""
    composed = f"{piece.seed_notes} seed notes, {len(piece.composed)} composed, {piece.label}{face_model}"
    say(f"{', '.join(files)}: {composed}, random seed {piece.random_seed}")


def _save(piece: Piece, *files: str) -> None:
    """Write a piece to files; a picture is titled with the file's name."""
    for file in files:
        dataclasses.replace(piece, name=PurePath(file.partition("?")[0]).stem).save(file)


def _text_or_file(text: str) -> str:
    """An option's text, or what is in the file that ``@FILE`` names."""
    from emoray.storage import read_file

    return read_file(text[1:]).decode("utf-8", errors="replace") if text.startswith("@") else text


@app.command()
def render(
    midi: Annotated[str, typer.Argument(help="A .mid file.", parser=anywhere)],
    wav: Annotated[str | None, typer.Option(help="Sound, stereo, 44.1 kHz.", **ANYWHERE)] = None,
    png: Annotated[str | None, typer.Option(help="Piano roll.", **ANYWHERE)] = None,
    seed_notes: Annotated[int, typer.Option(min=0, help="Colour the first so many as the seed.")] = 0,
) -> None:
    """Turn MIDI into sound and a picture."""
    from emoray.piece import Piece, suffix_of
    from emoray.readers.midi import read_midi
    from emoray.storage import read_file

    files = {".wav": wav, ".png": png}
    for suffix, file in files.items():
        if file is not None and suffix_of(file) != suffix:
            raise ConfigError(file, f"is to be a {suffix} file; give it that suffix")
    made = [file for file in files.values() if file is not None]
    if not made:
        raise ConfigError(midi, "nothing to render; give --wav, --png or both")
    _save(Piece(notes=read_midi(read_file(midi), subject=midi), seed_notes=seed_notes), *made)
    say(", ".join(made))


@app.command()
def emotion(
    files: Annotated[list[str], typer.Argument(help="Music or pictures.", parser=anywhere)],
    as_json: Annotated[
        bool, typer.Option("--json", help="One object a line, with all the evidence.")
    ] = False,
    faces: Faces = "auto",
) -> None:
    """Estimate the emotion of music and of faces: valence, arousal, cluster, key, and why."""
    from emoray.recognition import emotion_of

    failed = 0
    for file in files:
        try:
            found = emotion_of(file, faces=faces)
        except EmorayError as err:
            if len(files) == 1:
                raise
            failed += 1
            complain(str(err))
            if as_json:
                say(json.dumps({"file": file, "error": str(err)}))
            continue
        say(
            json.dumps({"file": file} | dataclasses.asdict(found))
            if as_json
            else f"{file}: {_in_words(found)}"
        )
    raise typer.Exit(3 if failed else 0)


def _in_words(found: EmotionEstimate) -> str:
    """An estimate on one line."""
    evidence = found.evidence
    if found.valence is None:
        return f"no emotion, {evidence['reason']}"
    if found.arousal is None:
        return f"valence {found.valence:+.2f}, confidence {found.confidence:.2f} ({evidence['backend']})"
    return (
        f"valence {found.valence:+.2f}, arousal {found.arousal:+.2f}, confidence {found.confidence:.2f}; "
        f"{found.cluster} cluster (score {evidence['emotion_score']:.2f}), {found.key}, "
        f"{evidence['onset_rate']:.1f} notes a second"
    )


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Any host but loopback needs EMORAY_TOKEN.")] = "127.0.0.1",
    port: Annotated[int, typer.Option()] = 8000,
    checkpoint: Checkpoint = None,
    guidance: GuidanceMode = None,
    faces: Faces = "auto",
    local: Local = False,
) -> None:
    """Answer POST /v1/generate over HTTP until Ctrl-C; the token is read from EMORAY_TOKEN."""
    from emoray.web.settings import HttpSettings, ServeSettings, environment_token

    http = HttpSettings(host=host, port=port, token=environment_token())
    settings = ServeSettings(
        checkpoint=checkpoint.resolve() if checkpoint else None,
        guidance=guidance,
        faces=faces,
    )
    start_ray(local=local, environment=RELAYING)  # for Serve's proxy; replicas have their own
    from emoray.pipeline.serve_deployment import serve_http

    serve_http(settings, http, ready=lambda url: say(f"{url}: POST /v1/generate, GET /docs; Ctrl-C stops"))
