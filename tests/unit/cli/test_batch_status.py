"""``emoray batch status``: once, as an object, and while somebody else drives the batch."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emoray.batch import ledger
from emoray.batch.folder import Run
from emoray.batch.ledger import SCHEMA, Layout
from emoray.batch.publish import hold_folder
from emoray.batch.stored_manifest import write_manifest_rows
from emoray.cli import batch, main
from emoray.request import Result
from emoray.storage import storage_path

LAYOUT_ROWS, GRAIN = 6, 2
Status = Callable[..., tuple[str, str]]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A batch of six rows, two of them done."""
    out = storage_path(tmp_path)
    layout = Layout(out, rows=LAYOUT_ROWS, shard_rows=GRAIN)
    write_manifest_rows(layout, [Result(id=str(row), error="wrong") for row in range(1, LAYOUT_ROWS + 1)])
    Run(
        identity={}, settings={}, manifest="m.csv", root="/", rows=LAYOUT_ROWS, shard_rows=GRAIN, versions={}
    ).save(out)
    commit(layout, 0)
    return layout


def commit(layout: Layout, number: int) -> None:
    rows = [
        dict.fromkeys(SCHEMA.names) | {"row": row, "id": str(row), "status": "failed" if row == 4 else "ok"}
        for row in layout.rows_of(number)
    ]
    ledger.commit(layout, number, rows, {})


@pytest.fixture
def status(layout, monkeypatch, capsys) -> Status:
    """Run the command; (stdout, stderr)."""

    def run(*options: str) -> tuple[str, str]:
        monkeypatch.setattr(batch, "PLAIN_EVERY", 0.05)
        monkeypatch.setattr(sys, "argv", ["emoray", "batch", "status", str(layout.out), *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        said = capsys.readouterr()
        return said.out, said.err

    return run


@contextlib.contextmanager
def driver(layout: Layout, shards: range, pause: float = 0.2) -> Iterator[None]:
    """Somebody who commits the shards one after the other, and holds the folder until then."""

    def drive() -> None:
        with hold_folder(layout.out):
            began.set()
            for number in shards:
                time.sleep(pause)
                commit(layout, number)
            time.sleep(pause)

    began, thread = threading.Event(), threading.Thread(target=drive)
    thread.start()
    began.wait()
    yield
    thread.join()


def test_status_is_one_line_or_one_object(status, layout):
    assert status()[0] == f"{layout.out}: 2 of 6 rows done, 2 ok, 0 failed; stopped; use --resume\n"
    commit(layout, 1)
    assert json.loads(status("--json")[0]) == {
        "rows": 6, "done": 4, "ok": 3, "failed": 1, "running": False, "complete": False, "reasons": {"": 1}
    }  # fmt: skip


def test_a_watch_tells_each_step_with_rate_and_eta_until_the_batch_is_complete(status, layout):
    with driver(layout, range(1, 3)):
        out, err = status("--watch")
    steps = err.splitlines()
    assert steps[0].startswith("batch: 4 of 6 rows (67 %) in ")
    assert " s left, " in steps[0]
    assert steps[0].endswith(" rows/s, 1 failed")
    assert steps[-1].startswith("batch: 6 of 6 rows (100 %)")
    assert "6 of 6 rows done, 5 ok, 1 failed" in out


def test_a_watch_ends_with_its_driver(status, layout):
    with driver(layout, range(1, 2)):
        out, _ = status("--watch")
    assert out.endswith("4 of 6 rows done, 3 ok, 1 failed; stopped; use --resume\n")
    assert status("--watch")[0].endswith("stopped; use --resume\n")


def test_a_watch_for_machines_is_an_object_a_line(status, layout):
    with driver(layout, range(1, 3)):
        out, err = status("--watch", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["done"] for one in found] == sorted(one["done"] for one in found)
    assert (found[0]["done"], found[-1]["done"], found[-1]["complete"]) == (2, 6, True)
    assert err == ""


def test_on_a_terminal_the_watch_is_a_bar(layout, status, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with driver(layout, range(1, 3), pause=0.7):
        status("--watch")
    assert "rows/s" in terminal.getvalue()
    assert "6/6" in terminal.getvalue().replace(" ", "")
