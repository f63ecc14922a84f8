"""Commands that make music for people: generate, render, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from emoray.cli.options import takes_options
from emoray.cli.shared import (
    Checkpoint,
    Faces,
    GuidanceMode,
    Local,
    app,
    read_bytes,
    render_beside,
    say,
    start_ray,
    write_bytes,
)
from emoray.errors import ConfigError
from emoray.generation import write
from emoray.pipeline.resources import RELAYING
from emoray.request import REQUEST_OPTIONS, GenerationRequest, Result


@app.command()
@takes_options(*(name for name in REQUEST_OPTIONS if name != "id"))
def generate(
    out: Annotated[Path, typer.Option(help="Where the music goes, a .mid.")],
    checkpoint: Checkpoint = None,
    wav: Annotated[bool, typer.Option("--wav", help="A .wav beside it.")] = False,
    png: Annotated[bool, typer.Option("--png", help="A piano roll beside it.")] = False,
    faces: Faces = "auto",
    **options: Any,
) -> None:
    """Compose one piece from a seed and an emotion."""
    if options["curve"]:
        options["curve"] = _text_or_file(options["curve"])
    request = GenerationRequest(**options)
    request = request.with_files({name: read_bytes(Path(file.name)) for name, file in request.files.items()})
    result = _result(request, checkpoint, faces)
    say(f"{', '.join(map(str, _written(result, out, wav=wav, png=png)))}: {_summary(result)}")


def _written(result: Result, out: Path, *, wav: bool, png: bool) -> list[Path]:
    """The files that were made.

    Raises:
        RequestError: there is no music, and why.
    """
    data = write(result)
    if data is None:
        raise result.failure()
    write_bytes(out, data)
    return [out, *render_beside(out, data, result.seed_notes or 0, wav=wav, png=png)]


def _summary(result: Result) -> str:
    """What was composed, in a few words."""
    mood = {1: "happy", -1: "sad"}.get(result.label or 0, "neutral")
    seen = f" ({result.backend})" if result.backend else ""
    composed = f"{result.seed_notes} seed notes, {result.notes} composed, {mood}{seen}"
    return f"{composed}, random seed {result.random_seed}"


def _text_or_file(text: str) -> str:
    """An option's text, or what is in the file that ``@FILE`` names."""
    return read_bytes(Path(text[1:])).decode("utf-8", errors="replace") if text.startswith("@") else text


def _result(request: GenerationRequest, checkpoint: Path | None, faces: str) -> Result:
    """The result of one request, by the same steps as a batch takes."""
    from emoray import generation
    from emoray.compose.decoding import BatchDecoder
    from emoray.model.checkpoint import load_checkpoint
    from emoray.readers.face import FaceReader
    from emoray.readers.seed import read_seed

    loaded = load_checkpoint(checkpoint)
    [result] = generation.generate_results(
        [request],
        read_seed=lambda file: read_seed(file.content, subject=file.name, sounding=loaded.sounding),
        read_faces=lambda pictures: FaceReader(faces).read(pictures),
        compose=BatchDecoder(loaded).compose,
        guidance=loaded.guidance,
    )
    return result


@app.command()
def render(
    midi: Annotated[Path, typer.Argument(help="A .mid file.")],
    wav: Annotated[Path | None, typer.Option(help="Sound, stereo, 44.1 kHz.")] = None,
    png: Annotated[Path | None, typer.Option(help="Piano roll.")] = None,
    seed_notes: Annotated[int, typer.Option(min=0, help="Colour the first so many as the seed.")] = 0,
) -> None:
    """Turn MIDI into sound and a picture."""
    if wav is None and png is None:
        raise ConfigError(midi, "nothing to render; give --wav, --png or both")
    data = read_bytes(midi)
    render_beside(midi, data, seed_notes, wav=wav or False, png=png or False)
    say(", ".join(str(path) for path in (wav, png) if path))


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
