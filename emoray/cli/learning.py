"""Commands from MIDI to a measured checkpoint: ingest, cluster, train, evaluate."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from emoray.cli.ray_session import start_ray, start_ray_for
from emoray.cli.shared import (
    ANYWHERE,
    CHECKPOINT,
    HERE,
    Local,
    RandomSeed,
    app,
    beside,
    checkpoint_here,
    here,
    say,
)
from emoray.config import PRESETS, SCHEMA_VERSION, BaselinePreset, ExpressivePreset
from emoray.errors import ConfigError

Preset = Literal[PRESETS]  # type: ignore[valid-type]  # the one list, unpacked
Music = Literal["own", "maestro"]
Split = Literal["train", "validation", "test", "all"]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

FILE_SECONDS, PIECE_SECONDS, NOTE_SECONDS = 0.003, 0.002, 0.0005
"""Of a core: to ingest a performance, to compute its features, to evaluate a note."""


@app.command()
def ingest(
    midi_dir: Annotated[
        Path, typer.Argument(help="Folder of .mid and .midi files, read recursively.", parser=here)
    ],
    out: Annotated[Path, typer.Option(help="Where the corpus goes.", **HERE)],
    metadata: Annotated[Path | None, typer.Option(help="csv or json with MAESTRO's columns.", **HERE)] = None,
    only_listed: Annotated[
        bool, typer.Option("--only-listed", help="Leave out files that the metadata does not name.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a corpus that is there.")] = False,
    local: Local = False,
) -> None:
    """Read a folder of MIDI into a corpus of Parquet."""
    from emoray.pipeline.ingest import ingest as run

    if only_listed and metadata is None:
        raise ConfigError("--only-listed", "needs a list; give --metadata as well")
    summary = run(
        midi_dir, out, metadata=metadata, overwrite=overwrite, only_listed=only_listed,
        before=lambda files: start_ray_for(files * FILE_SECONDS, local=local),
    )  # fmt: skip
    splits = ", ".join(f"{count:,} {split}" for split, count in summary.splits.items())
    say(f"{out}: {summary.rows:,} rows, {summary.errors:,} errors, {summary.notes:,} notes ({splits})")
    for reason, count in summary.reasons.items():
        say(f"  {count:,} x {reason}")


@app.command()
def cluster(
    corpus: Annotated[Path, typer.Argument(help="A corpus that `emoray ingest` made.", parser=here)],
    out: Annotated[
        str, typer.Option(help="Where the emotion model goes, a .json; a .png beside it.", **ANYWHERE)
    ],
    preset: Annotated[
        Preset, typer.Option(help="The network whose music is to be compared with the clusters.")
    ] = "expressive",
    labels: Annotated[Path | None, typer.Option(help="csv with midi, valence, arousal.", **HERE)] = None,
    hold_out_judges: Annotated[
        bool, typer.Option("--hold-out-judges", help="Leave out the labels that the judges are fitted on.")
    ] = False,
    as_json: Json = False,
    random_seed: RandomSeed = 0,
    local: Local = False,
) -> None:
    """Find the two emotion clusters of a corpus, on the durations that a preset's network reads."""
    from emoray.dataset.corpus import open_corpus
    from emoray.readers.annotations import halves, read_labels

    labelled = read_labels(labels) if labels else []
    if hold_out_judges:
        labelled, _ = halves(labelled)
    start_ray_for(open_corpus(corpus).rows * PIECE_SECONDS, local=local)
    from emoray.dataset.clusters import cluster_report
    from emoray.model.preset import durations_of
    from emoray.pipeline.clustering import cluster_corpus
    from emoray.storage import write_file
    from emoray.writers.plot import cluster_picture

    clusters, features = cluster_corpus(
        corpus, labelled, durations=durations_of(preset), random_seed=random_seed
    )
    write_file(out, clusters.as_json().encode())
    nearest = clusters.distances(features).argmin(axis=1)
    names = list(clusters.features)
    shown = slice(None, None, max(1, len(features) // 5_000))
    picture = cluster_picture(
        clusters.standardised(features)[shown], nearest[shown], clusters.centroids, names, clusters.names
    )
    write_file(beside(out, ".png"), picture)
    report = cluster_report(clusters)
    sizes = " and ".join(f"{count:,} {name}" for name, count in report["sizes"].items())
    say(json.dumps(report, indent=2) if as_json else f"{out}: {sizes} windows; {clusters.rule}")


@app.command()
def train(
    corpus: Annotated[Path, typer.Argument(help="A corpus that `emoray ingest` made.", parser=here)],
    emotion: Annotated[Path, typer.Option(help="An emotion model that `emoray cluster` made.", **HERE)],
    out: Annotated[Path, typer.Option(help="The run folder; it becomes a checkpoint.", **HERE)],
    preset: Annotated[Preset, typer.Option(help="Which network.")] = "expressive",
    workers: Annotated[int, typer.Option(min=1, help="Processes that train together.")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    epoch_windows: Annotated[int | None, typer.Option(min=1, help="Windows in an epoch (baseline).")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=1e-6, max=1.0, help="The highest, instead of the preset's.")
    ] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop before it takes longer.")] = None,
    start: Annotated[
        Path | None,
        typer.Option(help="Start from the weights of a checkpoint, such as pretrained.", **CHECKPOINT),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store the weights in half precision.")] = False,
    music: Annotated[Music, typer.Option(help="Whose licence the model card names.")] = "own",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    random_seed: RandomSeed = 0,
    local: Local = False,
) -> None:
    """Train a network on a corpus."""
    from emoray.dataset.clusters import EmotionClusters
    from emoray.dataset.corpus import open_corpus
    from emoray.model.preset import check_clusters
    from emoray.model.training import pitch_nats
    from emoray.pipeline.run_folder import RunFolder

    settings = _preset(preset, epochs=epochs, epoch_windows=epoch_windows)
    asked_start: dict[str, str] = {}
    if start is not None:
        start, settings, asked_start = _started(start, settings)
    if learning_rate is not None:
        settings = dataclasses.replace(settings, learning_rate=learning_rate)
    summary = open_corpus(corpus)
    clusters = EmotionClusters.load(emotion)
    check_clusters(clusters, preset, emotion)
    asked = {
        "version": SCHEMA_VERSION,
        "preset": preset,
        **dataclasses.asdict(settings),
        "corpus": f"{summary.rows} pieces, {summary.notes} notes",
        "random_seed": random_seed,
        **asked_start,
    }
    if music != "own":
        asked["music"] = music
    run = RunFolder.at(out, asked, clusters, resume=resume)
    if run.complete and not _has_more(run, settings, max_minutes):
        say(f"{out}: already complete; train into a new folder to do it again")
        return
    start_ray(local=local)
    from emoray.pipeline.training import TrainSettings
    from emoray.pipeline.training import train as fit

    standing = fit(
        corpus,
        run,
        settings,
        TrainSettings(
            workers=workers, max_minutes=max_minutes, random_seed=random_seed, half=half, start=start
        ),
    )
    pitch = pitch_nats(standing.history[standing.best_epoch - 1])
    say(
        f"{out}: best of {standing.epoch} epochs is {standing.best_epoch}, validation loss "
        f"{standing.best_loss:.4f}, pitch {pitch:.3f} nats, {standing.seconds:.0f} s"
    )


@app.command()
def evaluate(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint folder, pretrained or baseline.", parser=checkpoint_here)
    ],
    corpus: Annotated[Path, typer.Argument(help="A corpus that `emoray ingest` made.", parser=here)],
    split: Annotated[Split, typer.Option(help="Which pieces.")] = "test",
    as_json: Annotated[str | None, typer.Option("--json", help="Write the figures here.", **ANYWHERE)] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Evaluate compositions too: control, statistics, memorisation.")
    ] = False,
    page: Annotated[
        str | None, typer.Option(help="Folder for a page with all tables and pictures.", **ANYWHERE)
    ] = None,
    compare_with: Annotated[
        list[Path] | None, typer.Option(help="Another checkpoint for the tables.", **CHECKPOINT)
    ] = None,
    seeds: Annotated[int, typer.Option(min=6, help="Seeds to compose from, with --all.")] = 200,
    notes: Annotated[int, typer.Option(min=32, help="Notes to compose from each, with --all.")] = 250,
    local: Local = False,
) -> None:
    """Measure how well a checkpoint predicts held-out pieces and, with --all, how what it composes sounds."""
    from emoray.dataset.corpus import open_corpus

    if everything:
        start_ray(local=local)
    else:
        start_ray_for(open_corpus(corpus).notes * NOTE_SECONDS, local=local)
    from emoray.model.preset import PRETRAINED_DEFAULT
    from emoray.pipeline.evaluation import evaluate as run
    from emoray.storage import storage_path, write_file
    from emoray.writers import evaluation

    folder = None if checkpoint == PRETRAINED_DEFAULT else checkpoint
    report = run(folder, corpus, split=split, compare_with=compare_with or [])
    say(f"{report['split']}: {report['pieces']} pieces, {report['likelihood']['notes']:,} notes")
    say(evaluation.as_text(*evaluation.likelihood_table(report)))
    if everything:
        from emoray.pipeline.evaluation import evaluate_control

        report["control"] = evaluate_control(folder, corpus, split=split, seeds=seeds, composed=notes)
        _say_control(report["control"])
    if as_json:
        write_file(as_json, (json.dumps(report, indent=2) + "\n").encode())
    if page:
        for name, picture in evaluation.evaluation_pictures(report).items():
            write_file(storage_path(page) / f"{name}.png", picture)
        write_file(storage_path(page) / "README.md", evaluation.report_page(report).encode())
        say(f"{page}/README.md: all tables and pictures")


def _say_control(report: dict[str, Any]) -> None:
    """Print control, its cost, similarity to real music and memorisation."""
    from emoray.writers import evaluation

    say(f"\ncontrol: {report['seeds']} seeds, {report['composed_notes']} composed notes, happy less sad")
    say(evaluation.as_text(*evaluation.control_table(report)))
    accuracy = report["judges"]["cross_validated_accuracy"]
    listed = ", ".join(f"{name} {value:.2f}" for name, value in accuracy.items())
    say(f"cross-validated accuracy of the judges: {listed}")
    say("\ncost")
    say(evaluation.as_text(*evaluation.cost_table(report)))
    if "memorisation" in report:
        say("")
        say(evaluation.as_text(*evaluation.statistics_table(report, report["default_case"])))
        say(evaluation.memorisation_line(report))


def _preset(name: Preset, **changed: int | None) -> BaselinePreset | ExpressivePreset:
    """The preset of that name with the settings that were asked for.

    Raises:
        ConfigError: a setting is out of range, or of the other preset.
    """
    asked = {key: value for key, value in changed.items() if value is not None}
    if name == "baseline":
        return BaselinePreset(**asked)
    if "epoch_windows" in asked:
        raise ConfigError("--epoch-windows", "is a setting of --preset baseline; leave it out")
    return ExpressivePreset(**asked)


def _started(
    start: Path, settings: BaselinePreset | ExpressivePreset
) -> tuple[Path, BaselinePreset | ExpressivePreset, dict[str, str]]:
    """The folder of a checkpoint, its own preset for as long as was asked for, and what the run remembers.

    Raises:
        CheckpointError: it is none. ConfigError: it is of the other preset.
    """
    from emoray.model.checkpoint import load_checkpoint

    folder = start.resolve()
    loaded = load_checkpoint(folder)
    if type(loaded.preset) is not type(settings):
        raise ConfigError(
            "--start", f"is of the {loaded.preset_name} preset; pass --preset {loaded.preset_name} as well"
        )
    lengths = ("epochs", "epoch_windows") if isinstance(settings, BaselinePreset) else ("epochs",)
    kept: Any = {name: getattr(settings, name) for name in lengths}
    return folder, dataclasses.replace(loaded.preset, **kept), {"start": loaded.fingerprint}


def _has_more(run: Any, settings: BaselinePreset | ExpressivePreset, max_minutes: float | None) -> bool:
    return not run.standing(settings).finished(settings, max_minutes * 60 if max_minutes else float("inf"))
