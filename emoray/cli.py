"""The command line: options in, one call, one line out. The only prints, and the only ``ray.init``.

Conventions
-----------
Heavy imports happen inside commands, so ``emoray --help`` answers at once. An error that a user can mend is
one line on stderr and exit code 2; a batch with failed rows exits 3, an interruption 130; a bug keeps its
traceback and exits 1. Results go to stdout, progress to stderr.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from emoray.config import DEFAULT_NOTES, GUIDANCE_MODES, PRESETS, SeedPreset
from emoray.errors import ClusterError, ConfigError, EmorayError

app = typer.Typer(
    help="Piano music that starts from your melody and leans towards the emotion on your face.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
batch = typer.Typer(help="Answer a manifest of picture and seed pairs.", no_args_is_help=True)
weights = typer.Typer(help="The emotion weights of DeepFace.", no_args_is_help=True)
app.add_typer(batch, name="batch")
app.add_typer(weights, name="weights")

Guidance = StrEnum("Guidance", {mode: mode for mode in GUIDANCE_MODES})
Preset = StrEnum("Preset", {name: name for name in PRESETS})
Engine = StrEnum("Engine", {"serve": "serve", "data": "data"})
Split = StrEnum("Split", {name: name for name in ("train", "validation", "test", "all")})

Checkpoint = Annotated[Path | None, typer.Option(help="Checkpoint folder; by default the one that ships.")]
Faces = Annotated[str, typer.Option(help="Face backend: auto, deepface or fer-mini.")]
GuidanceMode = Annotated[Guidance | None, typer.Option(help="How the emotion bends the notes.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Local = Annotated[bool, typer.Option("--local", help="Start Ray here even if RAY_ADDRESS names a cluster.")]

WORKER_ENVIRONMENT = {"ORT_DISABLE_TELEMETRY": "1", "DEEPFACE_BACKEND_ENGINE": "onnx"}
"""Of this process and of all its workers: no telemetry, and the engine we verify weights for."""
INTERRUPTED = 130


def main(*command: str) -> NoReturn:
    """Run ``emoray``, or one command of it: ``main("ingest")`` is all that a job file says."""
    os.environ.update(WORKER_ENVIRONMENT)
    try:
        app([*command, *sys.argv[1:]])
    except EmorayError as err:
        typer.echo(f"emoray: {err}", err=True)
        raise SystemExit(2) from None
    except SystemExit as err:
        if err.code == INTERRUPTED:
            cause = err.__context__ and err.__context__.__cause__
            typer.echo(f"emoray: {cause if cause is not None and str(cause) else 'interrupted'}", err=True)
        raise
    raise AssertionError("typer exits")


def start_ray(*, local: bool = False) -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine for this command alone.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")  # progress is ours: progress.py
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S", "300")
    import ray

    if ray.is_initialized():
        return
    address = "local" if local else os.environ.get("RAY_ADDRESS", "local")
    here = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": WORKER_ENVIRONMENT},
            **here,
        )
    except (ConnectionError, ValueError, RuntimeError) as err:
        reason = f"cannot be joined ({str(err).splitlines()[0]}); check RAY_ADDRESS or use --local"
        raise ClusterError(address, reason) from err
    for name in ("ray.data", "ray.train", "ray.serve", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)


def say(text: str) -> None:
    """One line of result."""
    typer.echo(text)


@app.command()
def ingest(
    midi_dir: Annotated[Path, typer.Argument(help="Folder of .mid and .midi files, read recursively.")],
    out: Annotated[Path, typer.Option(help="Where the corpus goes.")],
    metadata: Annotated[Path | None, typer.Option(help="csv or json with MAESTRO's columns.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a corpus that is there.")] = False,
    local: Local = False,
) -> None:
    """Read a folder of MIDI into a corpus of Parquet."""
    start_ray(local=local)
    from emoray.pipeline.ingest import ingest as run

    summary = run(midi_dir, out, metadata=metadata, overwrite=overwrite)
    splits = ", ".join(f"{count:,} {split}" for split, count in summary.splits.items())
    say(f"{out}: {summary.rows:,} rows, {summary.errors:,} errors, {summary.notes:,} notes ({splits})")
    for reason, count in summary.reasons.items():
        say(f"  {count:,} x {reason}")


@app.command()
def cluster(
    corpus: Annotated[Path, typer.Argument(help="A corpus that `emoray ingest` made.")],
    out: Annotated[Path, typer.Option(help="Where the emotion model goes, a .json; a .png beside it.")],
    labels: Annotated[Path | None, typer.Option(help="csv with midi, valence, arousal.")] = None,
    as_json: Json = False,
    random_seed: Annotated[int, typer.Option(min=0)] = 0,
    local: Local = False,
) -> None:
    """Find the two emotion clusters of a corpus."""
    from emoray.readers.labels import read_labels

    labelled = read_labels(labels) if labels else []
    start_ray(local=local)
    from emoray.dataset.clusters import cluster_report
    from emoray.pipeline.cluster import cluster_corpus
    from emoray.writers.plot import cluster_picture

    clusters, features = cluster_corpus(corpus, labelled, random_seed=random_seed)
    clusters.save(out)
    nearest = clusters.distances(features).argmin(axis=1)
    names = list(clusters.features)
    shown = slice(None, None, max(1, len(features) // 5_000))
    picture = cluster_picture(
        clusters.standardised(features)[shown], nearest[shown], clusters.centroids, names, clusters.names
    )
    out.with_suffix(".png").write_bytes(picture)
    report = cluster_report(clusters)
    say(json.dumps(report, indent=2) if as_json else f"{out}: {clusters.sizes} windows; {clusters.rule}")


@app.command()
def train(
    corpus: Annotated[Path, typer.Argument(help="A corpus that `emoray ingest` made.")],
    emotion: Annotated[Path, typer.Option(help="An emotion model that `emoray cluster` made.")],
    out: Annotated[Path, typer.Option(help="The run folder; it becomes a checkpoint.")],
    preset: Annotated[Preset, typer.Option(help="Which network.")] = Preset.seed,  # type: ignore[attr-defined]
    workers: Annotated[int, typer.Option(min=1, help="Processes that train together.")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    epoch_windows: Annotated[int | None, typer.Option(min=1, help="Windows in an epoch.")] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop before it takes longer.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in the folder.")] = False,
    random_seed: Annotated[int, typer.Option(min=0)] = 0,
    local: Local = False,
) -> None:
    """Train a network on a corpus."""
    import dataclasses

    from emoray.dataset.clusters import EmotionClusters
    from emoray.dataset.corpus import open_corpus
    from emoray.pipeline.run_folder import RunFolder

    changed = {"epochs": epochs, "epoch_windows": epoch_windows}
    settings = SeedPreset(**{name: value for name, value in changed.items() if value is not None})
    summary = open_corpus(corpus)
    clusters = EmotionClusters.load(emotion)
    asked = {
        "preset": preset.value,
        **dataclasses.asdict(settings),
        "corpus": f"{summary.rows} pieces, {summary.notes} notes",
        "random_seed": random_seed,
    }
    run = RunFolder.start(out, asked, clusters, resume=resume)
    if run.complete and not _has_more(run, settings, max_minutes):
        say(f"{out}: already complete; train into a new folder to do it again")
        return
    start_ray(local=local)
    from emoray.pipeline.train import TrainSettings
    from emoray.pipeline.train import train as fit

    standing = fit(
        corpus, run, settings, TrainSettings(workers=workers, max_minutes=max_minutes, random_seed=random_seed)
    )
    best = standing.history[standing.best_epoch - 1]
    say(
        f"{out}: best of {standing.epoch} epochs is {standing.best_epoch}, validation loss "
        f"{standing.best_loss:.4f}, pitch {best['validation_pitch_nll']:.3f} nats, {standing.seconds:.0f} s"
    )


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder, or `pretrained`.")],
    corpus: Annotated[Path, typer.Argument(help="A corpus that `emoray ingest` made.")],
    split: Annotated[Split, typer.Option(help="Which pieces.")] = Split.test,  # type: ignore[attr-defined]
    as_json: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    local: Local = False,
) -> None:
    """Measure how well a checkpoint predicts held-out pieces."""
    start_ray(local=local)
    from emoray.evaluate.likelihood import likelihood_table
    from emoray.pipeline.evaluate import evaluate as run

    report = run(None if str(checkpoint) == "pretrained" else checkpoint, corpus, split=split.value)
    if as_json:
        _written(as_json, (json.dumps(report, indent=2) + "\n").encode())
    say(f"{report['split']}: {report['pieces']} pieces, {report['likelihood']['notes']:,} notes")
    say(likelihood_table(report["likelihood"]))


@app.command()
def generate(
    seed: Annotated[Path, typer.Option(help="Seed music: MIDI, or a recording (wav, flac, ogg, mp3).")],
    out: Annotated[Path, typer.Option(help="Where the music goes, a .mid.")],
    image: Annotated[Path | None, typer.Option(help="Picture of a face.")] = None,
    emotion: Annotated[str | None, typer.Option(help="happy, sad or -1..1; with --image, its fallback.")] = None,
    checkpoint: Checkpoint = None,
    guidance: GuidanceMode = None,
    strength: Annotated[float, typer.Option(help="0 is no emotion, 1 as calibrated.")] = 1.0,
    notes: Annotated[int | None, typer.Option(help=f"Notes to compose [default: {DEFAULT_NOTES}].")] = None,
    seconds: Annotated[float | None, typer.Option(help="Or seconds.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the pitches; 0 takes the likeliest.")] = None,
    random_seed: Annotated[int, typer.Option(min=0)] = 0,
    without_seed: Annotated[bool, typer.Option(help="Leave the seed out of the music.")] = False,
    wav: Annotated[bool, typer.Option("--wav", help="A .wav beside it.")] = False,
    png: Annotated[bool, typer.Option("--png", help="A piano roll beside it.")] = False,
    faces: Faces = "auto",
) -> None:
    """Compose one piece from a seed and an emotion."""
    from emoray.answer import answer_items
    from emoray.compose.sampler import Composer
    from emoray.emotion import parse_valence
    from emoray.items import Item
    from emoray.model.checkpoint import load_checkpoint
    from emoray.readers.face import FaceReader
    from emoray.readers.seed import read_seed

    item = Item(
        id=out.stem or "piece",
        seed=_read(seed),
        seed_name=str(seed),
        picture=_read(image) if image else None,
        picture_name=str(image),
        valence=parse_valence(emotion) if emotion is not None else None,
        notes=notes,
        seconds=seconds,
        temperature=temperature,
        strength=strength,
        random_seed=random_seed,
        guidance=guidance.value if guidance else None,
        without_seed=without_seed,
    )
    loaded = load_checkpoint(checkpoint)
    [result] = answer_items(
        [item],
        read_faces=FaceReader(faces).read if image else lambda _pictures: [],
        read_seed=lambda item: read_seed(item.seed, subject=item.seed_name),
        compose=Composer(loaded).compose,
        guidance=loaded.guidance,
    )
    if result.midi is None:
        subject, _, reason = (result.error or "").partition(": ")
        raise EmorayError(subject, reason)
    _written(out, result.midi)
    made = [out, *_rendered(out, result.midi, result.seed_notes or 0, wav=wav, png=png)]
    mood = {1: "happy", -1: "sad"}.get(result.label or 0, "neutral")
    seen = f" ({result.backend})" if result.backend else ""
    say(f"{', '.join(map(str, made))}: {result.seed_notes} seed notes, {result.notes} composed, {mood}{seen}")


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
    data = _read(midi)
    _rendered(midi, data, seed_notes, wav=wav or False, png=png or False)
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
    from emoray.pipeline.settings import HttpSettings, ServeSettings

    http = HttpSettings(host=host, port=port, token=os.environ.get("EMORAY_TOKEN") or None)
    settings = ServeSettings(
        checkpoint=checkpoint.resolve() if checkpoint else None,
        guidance=guidance.value if guidance else None,
        faces=faces,
    )
    start_ray(local=local)
    from emoray.pipeline.serve import serve_http

    serve_http(settings, http, ready=lambda url: say(f"{url}: POST /v1/generate, GET /docs; Ctrl-C stops"))


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


@batch.command("run")
def batch_run(
    manifest: Annotated[Path, typer.Argument(help="JSONL, CSV or Parquet: id, seed, image or emotion, ...")],
    out: Annotated[Path, typer.Option(help="The batch folder.")],
    checkpoint: Checkpoint = None,
    guidance: GuidanceMode = None,
    strength: Annotated[float, typer.Option(help="Of rows that name none.")] = 1.0,
    engine: Annotated[Engine, typer.Option(help="Through Ray Serve, or inside Ray Data.")] = Engine.serve,  # type: ignore[attr-defined]
    root: Annotated[Path | None, typer.Option(help="Where paths start [default: manifest's folder].")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the batch in the folder.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Ray Data actors.")] = None,
    grain: Annotated[int, typer.Option(min=1, help="Rows committed together.")] = 64,
    without_seed: Annotated[bool, typer.Option(help="Leave the seeds out of the music.")] = False,
    faces: Faces = "auto",
    local: Local = False,
) -> None:
    """Answer every row of a manifest: music for the good, a reason for the bad."""
    from emoray.pipeline.batch_folder import BatchSettings

    settings = BatchSettings(
        checkpoint=checkpoint.resolve() if checkpoint else None,
        guidance=guidance.value if guidance else None,
        strength=strength,
        engine=engine.value,
        workers=workers,
        grain=grain,
        without_seed=without_seed,
        faces=faces,
    )
    start_ray(local=local)
    from emoray.pipeline.batch import run_batch

    _tell(out, run_batch(manifest, out, settings, resume=resume, root=root))


@batch.command("status")
def batch_status(out: Annotated[Path, typer.Argument(help="A batch folder.")]) -> None:
    """How far a batch is."""
    from emoray.pipeline.audit import status

    found = status(out)
    state = "running" if found.running else "complete" if found.complete else "not running; use --resume"
    say(f"{out}: {found.done:,} of {found.rows:,} rows done, {found.ok:,} ok, {found.failed:,} failed; {state}")


@batch.command("results")
def batch_results(out: Annotated[Path, typer.Argument(help="A batch folder.")]) -> None:
    """The ledger: one JSON object a line, in the order of the manifest."""
    from emoray.pipeline.audit import results

    for row in results(out):
        say(json.dumps(row))


@batch.command("verify")
def batch_verify(out: Annotated[Path, typer.Argument(help="A batch folder.")]) -> None:
    """Check that every row is there once, and every file as it was written."""
    from emoray.pipeline.audit import verify

    found = verify(out)
    say(f"{out}: {found}")
    raise typer.Exit(0 if found.sound else 3)


@batch.command("retry-failed")
def batch_retry(out: Annotated[Path, typer.Argument(help="A complete batch folder.")], local: Local = False) -> None:
    """Answer the failed rows of a batch again."""
    start_ray(local=local)
    from emoray.pipeline.batch import retry_failed

    _tell(out, retry_failed(out))


def _tell(out: Path, summary: Any) -> None:
    """The end of a batch; exit 3 if rows failed."""
    say(f"{out}: {summary.rows:,} rows, {summary.ok:,} ok, {summary.failed:,} failed, {summary.seconds:.0f} s")
    for reason, count in summary.reasons.items():
        say(f"  {count:,} x {reason}")
    raise typer.Exit(3 if summary.failed else 0)


@weights.command("fetch")
def weights_fetch(
    to: Annotated[Path | None, typer.Option(help="Home folder of DeepFace.")] = None,
    url: Annotated[str | None, typer.Option(help="A mirror.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Refuse any other file.")] = None,
) -> None:
    """Download DeepFace's emotion weights once; workers never do."""
    from emoray.readers import weights as store

    found = store.fetch(to, url, sha256=sha256)
    say(f"{found.path}: sha256 {found.sha256}, from {found.origin}")


@weights.command("import")
def weights_import(
    source: Annotated[Path, typer.Argument(help="An .onnx file from elsewhere.")],
    to: Annotated[Path | None, typer.Option(help="Home folder of DeepFace.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Refuse any other file.")] = None,
) -> None:
    """Install DeepFace's emotion weights from a file, on a machine without a network."""
    from emoray.readers import weights as store

    found = store.import_file(source, to, sha256=sha256)
    say(f"{found.path}: sha256 {found.sha256}, from {found.origin}")


def _has_more(run: Any, settings: SeedPreset, max_minutes: float | None) -> bool:
    return not run.standing(settings).finished(settings, max_minutes * 60 if max_minutes else float("inf"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise ConfigError(path, f"cannot be read ({err.strerror}); check the path") from err


def _written(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as err:
        raise ConfigError(path, f"cannot be written ({err.strerror}); choose another place") from err


def _rendered(midi: Path, data: bytes, seed_notes: int, *, wav: Path | bool, png: Path | bool) -> list[Path]:
    """Write sound and piano roll beside ``midi`` or where asked; which files were made."""
    from emoray.readers.midi import read_midi

    notes, made = read_midi(data, subject=midi), []
    if wav:
        from emoray.writers.audio import wav_bytes

        made.append(wav if isinstance(wav, Path) else midi.with_suffix(".wav"))
        _written(made[-1], wav_bytes(notes))
    if png:
        from emoray.writers.plot import piano_roll

        made.append(png if isinstance(png, Path) else midi.with_suffix(".png"))
        _written(made[-1], piano_roll(notes, seed_notes=seed_notes, title=midi.stem))
    return made
