"""An interrupt that comes where Python cannot raise it is heard a moment later."""

from __future__ import annotations

import importlib
import signal
import sys
import threading

import pytest

from emoray.cli import interrupt


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


def test_an_interrupt_that_comes_too_late_is_not_heard():
    interrupt.hear()
    interrupt.ignore()
    signal.raise_signal(signal.SIGINT)  # would raise
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
