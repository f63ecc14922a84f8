"""The doctor finds what is missing, and no text of the code sends a reader to a file that does not exist."""

import re
import subprocess
from pathlib import Path

import pytest

from emoray import doctor

ROOT = Path(__file__).parents[2]
WRITTEN = {"README.md", "run.lock"}
"""Files that emoray writes."""
NAMED = re.compile(r"(?<![\w./{}*-])((?:[\w-]+/)*[\w-]+\.(?:lock|txt|md|toml|yaml|yml))\b")


def names_in(path: Path) -> set[str]:
    return set(NAMED.findall(path.read_text())) - WRITTEN


@pytest.mark.parametrize("path", sorted((ROOT / "emoray").rglob("*.py")), ids=lambda path: path.stem)
def test_files_that_the_code_names_exist(path):
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    missing = {
        name for name in names_in(path) if not any(f"/{file}".endswith(f"/{name}") for file in tracked)
    }
    assert missing == set()


def test_packages_without_dependencies_are_those_of_their_lock_file():
    lock = (ROOT / "requirements-no-deps.lock").read_text()
    assert set(doctor.WITHOUT_DEPENDENCIES) <= set(re.findall(r"^([\w-]+)==", lock, re.MULTILINE))
