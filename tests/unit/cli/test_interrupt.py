"""An interrupt that comes where Python cannot raise it is heard a moment later."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from emoray.cli import interrupt
from emoray.notes import as_notes
from emoray.writers.midi import midi_bytes


class Dying:
    """Is interrupted as it is destroyed."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_in_a_destructor_is_heard():
    def wait() -> None:
        Dying()
        threading.Event().wait(60)

    interrupt.hear()
    with pytest.raises(KeyboardInterrupt):
        wait()


def test_an_interrupt_amid_an_import_is_heard_after_it(tmp_path, monkeypatch):
    def wait() -> None:
        importlib.import_module("interrupted_import")
        threading.Event().wait(60)

    source = "import signal\nsignal.raise_signal(signal.SIGINT)\ndone = True\n"
    (tmp_path / "interrupted_import.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    interrupt.hear()
    with pytest.raises(KeyboardInterrupt):
        wait()
    assert sys.modules.pop("interrupted_import").done


def test_interrupts_that_come_together_are_one():
    """The second would come while the first is being dealt with."""
    interrupt.hear()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)  # would raise


def test_an_interrupt_that_comes_too_late_is_not_heard():
    interrupt.hear()
    interrupt.ignore()
    signal.raise_signal(signal.SIGINT)  # would raise
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_an_ingest_in_this_process_ends_with_one_line_and_leaves_nothing(tmp_path):
    count = 2_000
    music = midi_bytes(as_notes(np.arange(count) * 0.1, [0.1] * count, [60] * count, [80] * count))
    (tmp_path / "midi").mkdir()
    for number in range(4_000):
        (tmp_path / "midi" / f"{number}.mid").write_bytes(music)
    command = [sys.executable, "-c", "from emoray.cli import main; main()"]
    options = ["ingest", tmp_path / "midi", "--out", tmp_path / "corpus", "--local"]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(tmp_path.glob("corpus.staging-*/part-*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-1]) == (130, "emoray: interrupted")
    assert [path.name for path in tmp_path.iterdir()] == ["midi"]
