"""How long faults go on: a moment in `make test`, a night if the environment asks for it."""

from __future__ import annotations

import os

import pytest

AT_LENGTH = pytest.mark.skipif(
    os.environ.get("EMORAY_FAULTS") != "full",
    reason="takes minutes on busy cores, most to start processes of Ray; run it with EMORAY_FAULTS=full",
)


def rounds(default: int) -> int:
    """How often something is killed or interrupted; EMORAY_FAULT_ROUNDS says otherwise."""
    return int(os.environ.get("EMORAY_FAULT_ROUNDS", default))
