"""``emoray plan``: a table or JSON, with costs that are given instead of measured."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable

import pytest

from emoray.cli import main
from emoray.planning import measurement
from emoray.planning.estimate import Composing, Cost, UnitCosts

COSTS = UnitCosts(
    load=3.0,
    midi=Cost(each=0.001),
    voice=Cost(),
    picture=Cost(),
    few=Composing(rows=8, prefill=0.25, note=0.01),
    many=Composing(rows=64, prefill=2.0, note=0.01),
    pace=5.0,
    seed_notes=50,
    write=Cost(each=0.0001),
    commit=0.002,
    intake=0.0001,
    worker_bytes=1e9,
    note_bytes=8,
    share=1.0,
)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def emoray(monkeypatch, capsys) -> Run:
    """Run the command; (exit code, stdout, stderr)."""

    def run(*options: str, costs: UnitCosts = COSTS) -> tuple[int, str, str]:
        monkeypatch.setattr(measurement, "calibrate", lambda _setting, _intake: costs)
        monkeypatch.setattr(sys, "argv", ["emoray", "plan", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_a_plan_says_how_long_what_limits_it_and_what_is_assumed(emoray):
    code, out, _ = emoray("--rows", "640", "--nodes", "2", "--cpus", "4", "--engine", "data")
    assert code == 0
    assert out.startswith("640 rows by engine data on 2 x 4 CPUs: ")
    for part in ("composing", "Memory: at most", "Storage: 656 files", "What limits it: ", "Assumed:"):
        assert part in out, part
    assert "a network was not measured" in out


def test_the_same_as_json_has_the_costs_it_rests_on(emoray):
    _, out, _ = emoray("--rows", "640", "--cpus", "2", "--json")
    found = json.loads(out)
    assert found["costs"] == dataclasses.asdict(COSTS)
    assert found["seconds"] == pytest.approx(sum(found["plan"]["spent"].values()))


def test_no_time_is_guessed_for_a_gpu(emoray):
    plain = emoray("--rows", "640", "--engine", "data")[1]
    with_gpus = emoray("--rows", "640", "--engine", "data", "--gpus", "8")[1]
    assert with_gpus.splitlines()[0] == plain.splitlines()[0]
    assert "composing on one is unmeasured" in with_gpus


def test_a_plan_from_a_busy_machine_says_so(emoray):
    assert (
        "it was busy, the calibration got 30% of a core"
        in emoray("--rows", "640", costs=dataclasses.replace(COSTS, share=0.3))[1]
    )


@pytest.mark.parametrize("options", [(), ("--rows", "3", "--manifest", "m.jsonl")])
def test_rows_come_from_one_place(emoray, options):
    code, _, err = emoray(*options)
    assert code == 2
    assert "needs either --rows or --manifest" in err
