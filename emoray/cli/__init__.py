"""The command line: options in, one call, one line out. The only prints, and the only ``ray.init``.

Conventions
-----------
Heavy imports happen inside commands, so ``emoray --help`` answers at once. An error that a user can mend is
one line on stderr and exit code 2; a batch with failed rows exits 3, an interruption 130; a bug keeps its
traceback and exits 1. Results go to stdout, progress to stderr.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from emoray.cli import batch, demo, interrupt, learning, maintenance, music, plan  # each adds its commands
from emoray.cli.shared import app, complain
from emoray.errors import EmorayError
from emoray.pipeline.resources import LIBRARIES

__all__ = ["app", "batch", "demo", "learning", "main", "maintenance", "music", "plan"]

INTERRUPTED = 130


def main(*command: str) -> NoReturn:
    """Run ``emoray``, or one command of it: ``main("ingest")`` is all that a job file says."""
    try:
        interrupt.hear()
        os.environ.update(LIBRARIES)
        _run([*command, *sys.argv[1:]])
    except KeyboardInterrupt as err:
        interrupt.ignore()
        complain(str(err) or "interrupted")
        sys.stdout.flush()
        os._exit(INTERRUPTED)  # Ray's threads may crash a normal exit; its processes end with this one
    finally:
        interrupt.ignore()  # what was asked for is done, and Python tidies up
    raise AssertionError("typer exits")


def _run(arguments: list[str]) -> None:
    try:
        app(arguments)
    except EmorayError as err:
        complain(str(err))
        raise SystemExit(2) from None
    except SystemExit as err:
        if err.code == INTERRUPTED:
            cause = err.__context__ and err.__context__.__cause__
            raise cause or KeyboardInterrupt from None
        raise
