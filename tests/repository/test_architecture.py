"""The house: imports run one way, and each library lives in its rooms. Reads the source, starts nothing."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "emoray"
JOBS = sorted((ROOT / "jobs").glob("*.py"))
FILES = {str(path.relative_to(PACKAGE).with_suffix("")): path for path in PACKAGE.rglob("[a-z]*.py")}

BASE = {"errors", "notes", "emotion", "config", "options", "request", "storage"}
BELOW_RAY = {
    "logs",
    "progress",
    "readers",
    "dataset",
    "model",
    "compose",
    "writers",
    "evaluate",
    "generation",
    "demo",
    "web",
    "batch",
    "gallery",
    "composer",
    "piece",
    "recognition",
    "planning",
}
MAY_IMPORT = {
    "errors": set(),
    "logs": set(),
    "progress": {"logs"},
    "emotion": {"errors"},
    "notes": {"errors"},
    "storage": {"errors"},
    "config": {"emotion", "errors", "notes"},
    "options": {"errors"},
    "request": BASE,
    "readers": BASE,
    "dataset": BASE | {"readers"},
    "model": BASE | {"dataset"},
    "compose": BASE | {"dataset", "model"},
    "writers": BASE,
    "evaluate": BASE | {"dataset", "model", "compose"},
    "generation": BASE | {"writers"},
    "demo": BASE | {"writers"},
    "piece": BASE | {"writers"},
    "recognition": BASE | {"compose", "dataset", "demo", "model", "piece", "readers", "writers"},
    "composer": BASE | {"compose", "generation", "model", "piece", "readers", "recognition", "writers"},
    "gallery": BASE | {"composer", "demo", "writers"},
    "doctor": {"errors", "readers"},
    "planning": BASE | {"batch", "compose", "demo", "generation", "model", "readers", "web", "writers"},
    "web": BASE | {"generation", "writers"},
    "batch": BASE | {"generation", "readers"},
    "pipeline": BASE | BELOW_RAY,
    "cli": BASE | BELOW_RAY | {"doctor", "pipeline"},
}
"""What each wing may import from the others."""
ONLY_IN = {
    "ray": {"pipeline", "cli/ray_session"},
    "typer": {"cli"},
    "sklearn": {"dataset/clusters", "evaluate/judges"},
    "scipy": {"evaluate/statistics", "readers/pyin"},
    "symusic": {"readers/midi", "writers/midi"},
    "pretty_midi": {"writers/audio"},
    "librosa": {"readers/pyin"},
    "deepface": {"readers"},
    "onnxruntime": {"readers"},
    "cv2": {"readers"},
    "h5py": {"readers"},
    "matplotlib": {"writers/plot"},
    "tinysoundfont": {"writers/audio"},
    "fastapi": {"web"},
    "fastapi_offline": {"web"},
    "tensorboardX": {"pipeline/run_folder"},
    "safetensors": {"model/checkpoint", "pipeline/run_folder"},
    "rich": {"progress"},
}
"""Which rooms a library lives in."""
NOWHERE = {"pickle", "joblib", "dill", "shelve", "marshal"}


def imported(path):
    """Every dotted name that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where data flows"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", FILES)
def test_data_flows_downwards(room):
    wing = room.split("/")[0]
    ours = {name.split(".")[1] for name in imported(FILES[room]) if name.startswith("emoray.")}
    assert ours <= MAY_IMPORT[wing] | {wing}


@pytest.mark.parametrize("room", FILES)
def test_each_library_stays_in_its_room(room):
    libraries = {name.split(".")[0] for name in imported(FILES[room])}
    astray = {lib for lib in libraries & ONLY_IN.keys() if not ONLY_IN[lib] & {room, room.split("/")[0]}}
    assert not astray
    assert not libraries & NOWHERE, "no pickle on disk"


def test_ray_is_joined_in_one_place():
    calls = [room for room, path in FILES.items() if "ray.init(" in path.read_text()]
    assert calls == ["cli/ray_session"]


def test_weights_are_never_loaded_as_a_pickle():
    assert [room for room, path in FILES.items() if "torch.load(" in path.read_text()] == []


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_jobs_hold_no_logic(path):
    kinds = {type(node) for node in ast.parse(path.read_text()).body}
    assert kinds <= {ast.Expr, ast.ImportFrom, ast.If}  # docstring, import, main guard
    assert len(path.read_text().splitlines()) <= 12


@pytest.mark.parametrize("room", FILES)
def test_every_module_opens_with_what_it_is(room):
    assert ast.get_docstring(ast.parse(FILES[room].read_text()))


LONGEST = 400


@pytest.mark.parametrize("room", FILES)
def test_no_module_is_longer_than_a_reader_can_hold(room):
    assert len(FILES[room].read_text().splitlines()) <= LONGEST


SHARED_NAMES = {"log"}
"""Names that mean the same in every module: ``log`` is the logger of the module."""
COMMANDS = {"evaluate", "ingest", "plan", "train"}
"""Commands of the command line, named as the functions that they call."""
DOUBLED = {
    "COLUMNS", "Checkpoint", "EVERY", "Engine", "FEW", "FIELDS", "Faces", "GAIN",
    "LONGEST_DURATION", "LONGEST_STEP", "MUSIC", "Preset", "RANDOM_SEED", "RAY_START",
    "RECENT", "RUN", "SCALES", "SCHEMA", "SECONDS", "SLOWEST", "SPREAD", "SUMMARY", "TOGETHER", "Samples",
    "WINDOW", "app", "busy", "parts", "pieces_of", "results",
    "train_epoch", "validation_sums", "write_part",
}  # fmt: skip
"""Names that still mean two things. The list only gets shorter."""


def defined(path):
    """Every public name that a module defines at its top level."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [
                name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)
            ]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def test_no_name_means_two_things_in_two_modules():
    homes = {}
    for room, path in FILES.items():
        for name in set(defined(path)) - SHARED_NAMES:
            homes.setdefault(name, []).append(room)
    for name in COMMANDS:
        homes[name] = [room for room in homes[name] if not room.startswith("cli/")]
    doubled = {name: rooms for name, rooms in homes.items() if len(rooms) > 1}
    assert {name: rooms for name, rooms in doubled.items() if name not in DOUBLED} == {}
