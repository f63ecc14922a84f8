"""The demo, as a newcomer runs it: one command, with a Ray of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pretty_midi
import pytest

pytestmark = pytest.mark.ray


def test_the_demo_goes_through_everything_and_names_files_that_are_there(tmp_path: Path):
    code = "from emoray.cli import main; main('demo')"
    out = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-c", code, "--out", out], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    listed = done.stdout.partition("Listen to")[2].splitlines()[1:-1]
    assert len(listed) == 9
    for line in listed:
        sound = Path(line.strip())
        assert sound.is_file()
        assert sound.with_suffix(".png").is_file()
        assert pretty_midi.PrettyMIDI(str(sound.with_suffix(".mid"))).instruments[0].notes
    assert (out / "emotion.png").is_file()
    assert (out / "run" / "loss.png").is_file()
