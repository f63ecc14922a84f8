"""No document promises what the code lacks: found by reading the files, not from a list."""

import dataclasses
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from emoray.cli import app
from emoray.config import Limits
from emoray.web.settings import HttpSettings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").glob("*.md")]
README, MAP = (ROOT / name for name in ("README.md", "ARCHITECTURE.md"))


def commands(group, prefix=""):
    """Every command of the command line with its group: ``batch run``."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(commands(typer.main.get_command(app)))
GROUPS = {name.split()[0] for name in COMMANDS if " " in name}
"""Commands that only hold others: ``batch``, ``weights``."""
COMMAND = rf"^\$ emoray ((?:(?:{'|'.join(sorted(GROUPS))}) )?[a-z-]+)"
"""A line of a document that runs a command, and the command's name."""


def test_the_documents_show_every_command_and_none_that_is_gone():
    shown = {name for document in DOCUMENTS for name in re.findall(COMMAND, document.read_text(), flags=re.M)}
    assert shown == set(COMMANDS)


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 120


def test_the_readme_leads_to_small_sounds():
    sounds = re.findall(r"\]\((\S+\.mp3)\)", README.read_text())
    assert len(sounds) == 2
    for sound in sounds:
        assert 10_000 < (ROOT / sound).stat().st_size < 200_000


def test_the_index_leads_to_every_document():
    """From docs/README.md in at most two steps; a folder with a README of its own is one step."""
    index = ROOT / "docs" / "README.md"
    near = {index, *linked(index)}
    reached = near.union(*(linked(document) for document in near if document.name == "README.md"))
    assert set((ROOT / "docs").rglob("*.md")) - reached == set()


def linked(document):
    """The Markdown files that a document links to."""
    targets = re.findall(r"\]\(([^)#:]+\.md)\)", document.read_text())
    return {(document.parent / target).resolve() for target in targets}


def test_every_decision_has_a_number_a_date_and_its_three_parts():
    decisions = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    for number, decision in enumerate(decisions, start=1):
        text = decision.read_text()
        assert decision.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number}. "), decision.name
        assert re.search(r"^Date: \d{4}-\d\d$", text, flags=re.M), decision.name
        assert re.findall(r"^## (.*)", text, flags=re.M) == ["Context", "Decision", "Consequence"], (
            decision.name
        )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name):
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        assert getattr(parameter, "help", None) or parameter.name in ("random_seed", "port"), parameter.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_options_in_the_documents_are_those_of_their_command(document):
    for line in re.findall(r"^\$ emoray .*", document.read_text(), flags=re.M):
        command, text = COMMANDS[re.match(COMMAND, line)[1]], re.split(r"[|#]", line)[0]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<=\s)--[a-z-]+", text)) <= known | {"--help"}, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_in_the_documents_exist(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    used = set(re.findall(r"(?:`|^(?:\$ )?)make ([a-z-]+)", document.read_text(), flags=re.M))
    assert used <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_and_to_pictures_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_map_names_every_module_and_none_that_is_gone():
    named = set(re.findall(r"`((?:[a-z_]+/)?[a-z_]+\.py)`", MAP.read_text()))
    named = {name for name in named if not name.startswith("tests/")}
    there = {path.relative_to(ROOT / "emoray").as_posix() for path in (ROOT / "emoray").rglob("[a-z]*.py")}
    assert there - named == set(), "modules that the map lacks"
    assert named - there == set(), "modules that are gone"


def test_the_reference_is_up_to_date():
    generator = runpy.run_path(str(ROOT / "docs" / "generate_reference.py"))
    for name, text in generator["pages"]().items():
        assert (ROOT / "docs" / "reference" / name).read_text() == text, "run `make docs`"


def test_the_names_in_the_map_are_those_of_the_code():
    source = "".join(path.read_text() for path in (ROOT / "emoray").rglob("*.py"))
    for name in re.findall(r"`([A-Z]+[a-z]\w+|[A-Z]+_[A-Z_]+)`", MAP.read_text()):
        assert re.search(rf"^\s*(?:class )?{name}\b", source, flags=re.M), name


def test_help_loads_neither_torch_nor_ray():
    code = (
        "import sys; sys.argv = ['emoray', '--help']\n"
        "from emoray.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'librosa', 'deepface', 'matplotlib', 'pyarrow'} & sys.modules.keys()\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "generate" in done.stdout


def test_the_documents_speak_of_the_project_alone():
    for document in DOCUMENTS:
        assert not re.search(r"(^|[\s`(\"])/(work|root|tmp|home/[a-z]+)/", document.read_text()), (
            document.name
        )


def test_what_security_rests_on_exists():
    text = (ROOT / "SECURITY.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", text):
        assert f"def {name}(" in tests, name
    for name in re.findall(r"`(emoray/[\w/]+\.py)`", text):
        assert (ROOT / name).is_file(), name


def test_the_limits_that_security_names_are_those_of_the_code():
    text = (ROOT / "SECURITY.md").read_text()
    limits = dataclasses.asdict(Limits()) | {"body": HttpSettings().max_body}
    for name, limit in limits.items():
        assert f"{limit:,.0f} " in text, name
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"that is {version}" in text


def test_the_messages_in_the_runbook_are_those_of_the_code():
    """By their remedies, without what differs from case to case."""
    source = "".join(path.read_text() for path in (ROOT / "emoray").rglob("*.py"))
    runbook = (ROOT / "docs" / "how-to" / "runbook.md").read_text()
    messages = re.findall(r"^(?:emoray: (?!SUBJECT)|tried ).*", runbook, flags=re.M)
    assert len(messages) > 12
    for message in messages:
        remedy = re.sub(r" \(.*| serve shutdown.*|, or .*", "", message.split("; ")[-1])
        assert remedy in source, message
