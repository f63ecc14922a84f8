"""Batch folders on a disk and on a store: what is promised of one is promised of the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow.fs import _MockFileSystem

from emoray.storage import StoragePath, storage_path


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> StoragePath:
    """An empty folder."""
    return (
        storage_path(tmp_path)
        if request.param == "disk"
        else StoragePath(_MockFileSystem(), "bucket/night-1")
    )


@pytest.fixture
def disk(tmp_path: Path) -> StoragePath:
    """An empty folder on this machine."""
    return storage_path(tmp_path)
