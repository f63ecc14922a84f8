"""What a command writes goes where the user says, also to an object store, or is refused before any work."""

import json
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer
from pyarrow.fs import FileSelector, _MockFileSystem

from emoray import storage
from emoray.cli import app, main
from emoray.cli.shared import anywhere, checkpoint_here, here
from emoray.demo.files import write_demo
from emoray.readers.midi import read_midi


def commands(group, prefix=()):
    """(name, function, parameters) of every command; a name is ``("batch", "run")``."""
    parsed = typer.main.get_command(group).commands
    for info in group.registered_commands:
        name = info.name or info.callback.__name__
        yield (*prefix, name), info.callback, parsed[name].params
    for sub in group.registered_groups:
        yield from commands(sub.typer_instance, (*prefix, sub.name))


COMMANDS = {name: (function, parameters) for name, function, parameters in commands(app)}


def files(parser):
    """(command, parameter) of all that take a file by this parser of ``cli.shared``."""
    for name, (function, parameters) in COMMANDS.items():
        hints = get_type_hints(function, include_extras=True)
        for parameter in parameters:
            [info, *_] = getattr(hints.get(parameter.name), "__metadata__", [None])
            if getattr(info, "parser", None) is parser:
                yield pytest.param(name, parameter, id=f"{' '.join(name)} {parameter.name}")


@pytest.fixture
def store(monkeypatch):
    """Buckets in memory behind all URIs."""
    buckets = _MockFileSystem()
    buckets.create_dir("bucket/page")  # it wants folders, which no object store has

    class Stores:
        @staticmethod
        def from_uri(uri):
            return buckets, uri.partition("?")[0].partition("://")[2]

    monkeypatch.setattr(storage, "FileSystem", Stores)
    return buckets


@pytest.fixture
def emoray(monkeypatch, tmp_path, capsys):
    """Run a command line in an empty folder; (exit code, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["emoray", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, capsys.readouterr().err

    return run


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    from emoray.pipeline.ingest import ingest

    folder = tmp_path_factory.mktemp("corpus")
    inputs = write_demo(folder / "input")
    ingest(inputs.midi, folder / "corpus", metadata=inputs.metadata)
    return folder / "corpus"


def written(buckets):
    found = buckets.get_file_info(FileSelector("bucket", allow_not_found=True, recursive=True))
    return {info.path for info in found if info.is_file}


def test_no_command_takes_a_bare_path():
    """Each says by its parser whether the file may be on an object store."""
    said = {case.values for parser in (here, anywhere, checkpoint_here) for case in files(parser)}
    for name, (function, parameters) in COMMANDS.items():
        hints = get_type_hints(function)
        for parameter in parameters:
            if Path in (hints.get(parameter.name), *get_args(hints.get(parameter.name))):
                assert (name, parameter) in said, (name, parameter.name)


@pytest.mark.parametrize(("command", "parameter"), [*files(here), *files(checkpoint_here)])
def test_what_must_be_on_this_machine_is_refused_elsewhere_before_any_work(
    emoray, command, parameter, tmp_path
):
    arguments, options = [], []
    for one in COMMANDS[command][1]:
        value = "s3://bucket/x" if one is parameter else "file:///none"
        if one.param_type_name == "argument":
            arguments.append(value)
        elif one is parameter or one.required:
            options += [one.opts[0], value]
    code, err = emoray(*command, *options, *arguments)
    assert code == 2
    assert err == "emoray: s3://...: is on an object store; give a path on storage that all nodes share\n"
    assert [*tmp_path.iterdir()] == []


OUTPUTS = {
    "generate out": {"sad.mid", "sad.wav", "sad.png"},
    "render wav": {"sad.wav"},
    "render png": {"sad.png"},
    "cluster out": {"emotion.json", "emotion.png"},
    "evaluate as_json": {"figures.json"},
    "evaluate page": {"page/README.md", "page/likelihood.png"},
    "gallery out": {"README.md", "happy.mp3", "sad.mp3", "greensleeves-happy.mid"},
}
"""Command and option for a file anywhere to what it makes; arguments and inputs are read, not written."""
INPUTS = {"render midi", "emotion files"}


def test_every_output_that_may_be_anywhere_is_tested_here():
    assert {case.id for case in files(anywhere)} == OUTPUTS.keys() | INPUTS


@pytest.mark.parametrize(
    ("output", "arguments"),
    [
        ("generate out", "--seed SEED --emotion sad --notes 8 --out URI/sad.mid?region=eu --wav --png"),
        ("render wav", "SEED --wav URI/sad.wav"),
        ("render png", "SEED --png URI/sad.png"),
        ("cluster out", "CORPUS --out URI/emotion.json"),
        ("evaluate as_json", "baseline CORPUS --split all --json URI/figures.json"),
        ("evaluate page", "baseline CORPUS --split all --page URI/page"),
        ("gallery out", "--checkpoint baseline --out URI"),
    ],
)  # fmt: skip
def test_an_output_on_an_object_store_is_written_there(emoray, store, corpus, output, arguments):
    seed = corpus.parent / "input" / "midi" / "ode_to_joy.mid"
    asked = arguments.replace("SEED", str(seed)).replace("CORPUS", str(corpus)).replace("URI", "s3://bucket")
    code, err = emoray(output.split()[0], *asked.split())
    assert code == 0, err
    assert {f"bucket/{name}" for name in OUTPUTS[output]} <= written(store)
    assert not Path("s3:").exists()


def test_music_and_figures_on_an_object_store_are_whole(emoray, store, corpus):
    seed = corpus.parent / "input" / "midi" / "ode_to_joy.mid"
    asked = ["--emotion", "sad", "--notes", 8, "--checkpoint", "baseline", "--out", "s3://bucket/a.mid"]
    assert emoray("generate", "--seed", seed, *asked)[0] == 0
    assert len(read_midi(store.open_input_file("bucket/a.mid").read())) > 8
    assert emoray("cluster", corpus, "--out", "s3://bucket/emotion.json")[0] == 0
    assert json.loads(store.open_input_file("bucket/emotion.json").read())["version"]
    assert emoray("emotion", "s3://bucket/a.mid")[0] == 0


@pytest.mark.parametrize("uri", ["ftp://host/a.mid", "s3:///a.mid", "s3://key:secret@bucket/a.mid"])
def test_a_uri_that_cannot_be_used_is_refused_before_any_work(emoray, uri, tmp_path):
    code, err = emoray("generate", "--seed", "none.mid", "--emotion", "sad", "--out", uri)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "secret" not in err
    assert [*tmp_path.iterdir()] == []
