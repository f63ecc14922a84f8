"""How often the fault tests kill: once or twice in ``make test``, ten times in ``make test-full``."""

from __future__ import annotations

import pytest


def kills(few: int) -> pytest.MarkDecorator:
    """A test that takes ``rounds``: few of them, and ten under the marker ``full``."""
    return pytest.mark.parametrize("rounds", [few, pytest.param(10, marks=pytest.mark.full)])
