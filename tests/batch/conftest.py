"""Batch folders on a disk and on a store: what is promised of one is promised of the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow.fs import _MockFileSystem

from emoray.storage import Place, place


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty folder."""
    return place(tmp_path) if request.param == "disk" else Place(_MockFileSystem(), "bucket/night-1")


@pytest.fixture
def disk(tmp_path: Path) -> Place:
    """An empty folder on this machine."""
    return place(tmp_path)
