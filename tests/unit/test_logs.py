"""Logs: one line, one object; about which row; and nothing of what a file holds."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest
from asked import music_of, request

from emoray import logs
from emoray.logs import JsonFormatter, TextFormatter
from emoray.request import Result
from emoray.web.settings import HttpSettings


def logged(
    formatter: logging.Formatter, text: str, *args: object, error: bool = False, **extra: object
) -> str:
    """A message as the formatter writes it."""
    record = logging.getLogger("emoray.batch").makeRecord(
        "emoray.batch", logging.WARNING, "f.py", 1, text, args, _raised() if error else None, extra=extra
    )
    return formatter.format(record)


def _raised() -> object:
    try:
        raise KeyError("two\nlines")
    except KeyError:
        return sys.exc_info()


def test_a_json_line_is_one_object_that_names_its_row():
    line = logged(JsonFormatter(), "failed: %s", "two\nlines", row=3, request="a")
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "WARNING", "logger": "emoray.batch", "message": "failed: two\nlines", "row": 3,
        "request": "a",
    }  # fmt: skip


def test_a_traceback_stays_on_the_line():
    line = logged(JsonFormatter(), "unexpected error", error=True)
    assert "\n" not in line
    assert "KeyError" in json.loads(line)["traceback"]
    assert {"row", "request"}.isdisjoint(json.loads(line))


def test_a_text_line_names_its_row_too():
    assert logged(TextFormatter(), "failed", row=3, request="a").endswith(
        "WARNING emoray.batch: failed (row 3, request a)"
    )
    assert logged(TextFormatter(), "failed").endswith("WARNING emoray.batch: failed")


def test_what_is_secret_shows_in_no_text_of_what_holds_it():
    item = request("a", b"the tune", b"the face")
    result = Result(id="a", music=music_of(b"music"))
    told = f"{item!r} {result} {HttpSettings(token='open sesame')}"
    assert "id='a'" in told
    assert not [word for word in ("tune", "face", "music", "sesame") if word in told.replace("faces", "")]


@pytest.mark.parametrize("place", ["option", "environment"])
def test_with_json_every_line_on_stderr_is_an_object(place):
    """Progress and the error that ends a command, too."""
    options, variables = (
        (["--log-format", "json"], {}) if place == "option" else ([], {logs.VARIABLE: "json"})
    )
    code = (
        "import emoray.cli as cli, emoray.doctor as doctor\n"
        "from emoray.progress import Meter\n"
        "from emoray.errors import ConfigError\n"
        "def examine():\n"
        "    with Meter('work', 2, 'rows') as meter: meter.advance(2)\n"
        "    raise ConfigError('x', 'is wrong; mend it')\n"
        "doctor.examine = examine\n"
        f"import sys; sys.argv = ['emoray', *{options}, 'doctor']\n"
        "cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ | variables
    )
    assert done.returncode == 2
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["level"], line["logger"]) for line in lines] == [
        ("INFO", "emoray.progress"), ("ERROR", "emoray")
    ]  # fmt: skip
    assert lines[0]["message"].startswith("work: 2 of 2 rows")
    assert lines[1]["message"] == "x: is wrong; mend it"
