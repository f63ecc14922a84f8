"""What checks a change: the same commands on a laptop, before a commit and in continuous integration."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def recipe(target):
    """The commands of a target of the Makefile."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.M)
    return [line.replace("$(BIN)", ".venv/bin").strip() for line in found[1].splitlines()]


def test_pre_commit_runs_the_checks_of_make_check():
    [local] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local", "the versions of the tools are those of requirements.lock"
    assert [hook["entry"] for hook in local["hooks"]] == [line.removesuffix(" .") for line in recipe("check")]


def test_continuous_integration_runs_what_a_laptop_runs():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["ci"]["steps"][-1] == {"run": ".ci/run"}
    assert (ROOT / ".ci" / "run").read_text().split("\n")[-3:] == ["make check", "make test", ""]


def test_every_folder_of_tests_is_run():
    named = {
        word for target in ("test", "test-fast") for word in re.findall(r"tests/\w+", str(recipe(target)))
    }
    folders = {f"tests/{path.name}" for path in (ROOT / "tests").iterdir() if any(path.rglob("test_*.py"))}
    assert named == folders


def test_a_test_that_starts_ray_lives_in_a_folder_that_says_so():
    for path in (ROOT / "tests").rglob("test_*.py"):
        there = path.relative_to(ROOT / "tests").parts[0] in ("ray", "faults")
        assert ("pytest.mark.ray" in path.read_text()) is there or path == Path(__file__), path
