"""Commands that make music for people: generate, render, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emoray.cli.shared import (
    Checkpoint,
    Faces,
    GuidanceMode,
    Local,
    RandomSeed,
    app,
    read_bytes,
    render_beside,
    say,
    start_ray,
    write_bytes,
)
from emoray.config import DEFAULT_NOTES
from emoray.errors import ConfigError, EmorayError
from emoray.pipeline.resources import PASSING_ON
from emoray.request import GenerationRequest, Result


@app.command()
def generate(
    seed: Annotated[Path, typer.Option(help="Seed music: MIDI, or a recording (wav, flac, ogg, mp3).")],
    out: Annotated[Path, typer.Option(help="Where the music goes, a .mid.")],
    image: Annotated[Path | None, typer.Option(help="Picture of a face.")] = None,
    emotion: Annotated[
        str | None,
        typer.Option(help="happy, sad, excited, tense, calm, gloomy or -1..1; with --image, its fallback."),
    ] = None,
    arousal: Annotated[
        float | None, typer.Option(help="-1 calm .. 1 excited; as the emotion if left out.")
    ] = None,
    curve: Annotated[
        str | None,
        typer.Option(help="Emotion over time: [[seconds, valence, arousal], ...], or @FILE with it."),
    ] = None,
    checkpoint: Checkpoint = None,
    guidance: GuidanceMode = None,
    strength: Annotated[float, typer.Option(help="0 is no emotion, 1 as calibrated.")] = 1.0,
    notes: Annotated[int | None, typer.Option(help=f"Notes to compose [default: {DEFAULT_NOTES}].")] = None,
    seconds: Annotated[float | None, typer.Option(help="Or seconds.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the pitches; 0 takes the likeliest.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Share of the likeliest choices that may be drawn.")
    ] = None,
    random_seed: RandomSeed = 0,
    without_seed: Annotated[
        bool, typer.Option("--without-seed", help="Leave the seed out of the music.")
    ] = False,
    wav: Annotated[bool, typer.Option("--wav", help="A .wav beside it.")] = False,
    png: Annotated[bool, typer.Option("--png", help="A piano roll beside it.")] = False,
    faces: Faces = "auto",
) -> None:
    """Compose one piece from a seed and an emotion."""
    from emoray.emotion import parse_curve, parse_emotion

    valence, its_arousal = (None, None) if emotion is None else parse_emotion(emotion)
    item = GenerationRequest(
        id=out.stem or "piece",
        seed=read_bytes(seed),
        seed_name=str(seed),
        picture=read_bytes(image) if image else None,
        picture_name=str(image),
        valence=valence,
        arousal=its_arousal if arousal is None else arousal,
        curve=parse_curve(_text_or_file(curve)) if curve else (),
        top_p=top_p,
        notes=notes,
        seconds=seconds,
        temperature=temperature,
        strength=strength,
        random_seed=random_seed,
        guidance=guidance,
        without_seed=without_seed,
    )
    result = _answered(item, checkpoint, faces)
    say(f"{', '.join(map(str, _written(result, out, wav=wav, png=png)))}: {_summary(result)}")


def _written(result: Result, out: Path, *, wav: bool, png: bool) -> list[Path]:
    """The files that were made.

    Raises:
        EmorayError: there is no music, and why.
    """
    if result.midi is None:
        subject, _, reason = (result.error or "").partition(": ")
        raise EmorayError(subject, reason)
    write_bytes(out, result.midi)
    return [out, *render_beside(out, result.midi, result.seed_notes or 0, wav=wav, png=png)]


def _summary(result: Result) -> str:
    """What was composed, in a few words."""
    mood = {1: "happy", -1: "sad"}.get(result.label or 0, "neutral")
    seen = f" ({result.backend})" if result.backend else ""
    return f"{result.seed_notes} seed notes, {result.notes} composed, {mood}{seen}"


def _text_or_file(text: str) -> str:
    """An option's text, or what is in the file that ``@FILE`` names."""
    return read_bytes(Path(text[1:])).decode("utf-8", errors="replace") if text.startswith("@") else text


def _answered(item: GenerationRequest, checkpoint: Path | None, faces: str) -> Result:
    """One item, by the same steps as a batch takes."""
    from emoray.compose.decoding import BatchDecoder
    from emoray.generation import generate_results
    from emoray.model.checkpoint import load_checkpoint
    from emoray.readers.face import FaceReader
    from emoray.readers.seed import read_seed

    loaded = load_checkpoint(checkpoint)
    [result] = generate_results(
        [item],
        read_faces=FaceReader(faces).read if item.picture is not None else lambda _pictures: [],
        read_seed=lambda item: read_seed(item.seed, subject=item.seed_name, sounding=loaded.sounding),
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
    start_ray(local=local, environment=PASSING_ON)  # for Serve's proxy; replicas have their own
    from emoray.pipeline.serve_deployment import serve_http

    serve_http(settings, http, ready=lambda url: say(f"{url}: POST /v1/generate, GET /docs; Ctrl-C stops"))
