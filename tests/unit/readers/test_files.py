from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow.fs import _MockFileSystem

from emoray.errors import RequestError
from emoray.readers import files
from emoray.readers.files import check_inside, read_from, read_inside
from emoray.storage import StoragePath, storage_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "deep").mkdir(parents=True)
    (tmp_path / "root" / "deep" / "a.mid").write_bytes(b"music")
    (tmp_path / "secret.mid").write_bytes(b"secret")
    return tmp_path / "root"


def test_a_file_is_read_through_links_that_stay_inside(root):
    (root / "short").symlink_to("deep")
    assert read_inside(root, "short/a.mid", most_bytes=5) == b"music"


def test_a_root_may_itself_be_a_link(root):
    (root.parent / "alias").symlink_to(root)
    assert read_inside(root.parent / "alias", "deep/a.mid", most_bytes=5) == b"music"


@pytest.mark.parametrize("swapped", ["deep/a.mid", "deep"])
def test_a_link_swapped_in_after_the_check_is_not_followed(root, monkeypatch, swapped):
    def swap_then_open(start, parts):
        (root / swapped).rename(root / "moved")
        (root / swapped).symlink_to(root.parent / "secret.mid" if "." in swapped else root / "moved")
        return opening(start, parts)

    opening = files._open
    monkeypatch.setattr(files, "_open", swap_then_open)
    with pytest.raises(RequestError, match="cannot be read"):
        read_inside(root, "deep/a.mid", most_bytes=100)


def test_a_file_that_grew_after_the_check_is_refused(root, monkeypatch):
    def grow_then_open(start, parts):
        start.joinpath(*parts).write_bytes(b"longer music")
        return opening(start, parts)

    opening = files._open
    monkeypatch.setattr(files, "_open", grow_then_open)
    with pytest.raises(RequestError, match=r"file deep/a\.mid: has 12 bytes, the limit is 5"):
        read_inside(root, "deep/a.mid", most_bytes=5)


def test_a_missing_root_is_said(tmp_path):
    with pytest.raises(RequestError, match="does not exist; check the path and the root"):
        read_inside(tmp_path / "none", "a.mid", most_bytes=5)


def store(*names: str) -> StoragePath:
    system = _MockFileSystem()
    system.create_dir("bucket/root/deep")
    for name in names:
        with system.open_output_stream(f"bucket/{name}") as file:
            file.write(b"music")
    return StoragePath(system, "bucket/root")


def test_on_a_store_a_path_is_a_part_of_a_key():
    assert read_from(store("root/deep/a.mid"), "deep/a.mid", most_bytes=5) == b"music"
    with pytest.raises(RequestError, match=r"file a\.mid: has more than 4 bytes"):
        read_from(store("root/a.mid"), "a.mid", most_bytes=4)
    with pytest.raises(RequestError, match=r"file gone\.mid: does not exist; check the path and the root"):
        read_from(store(), "gone.mid", most_bytes=4)
    check_inside(store(), "gone.mid", most_bytes=4)  # not asked for before its turn


@pytest.mark.parametrize(
    "text", ["../secret.mid", "deep/../../secret.mid", "/bucket/secret.mid", "s3://bucket/x"]
)
def test_on_a_store_no_path_leaves_the_root(text):
    root = store("secret.mid")
    for look in (read_from, check_inside):
        with pytest.raises(RequestError, match=r"contains '\.\.'|is an absolute path|is a URL"):
            look(root, text, most_bytes=10)


def test_a_root_on_this_machine_is_checked_as_before(root):
    (root / "out.mid").symlink_to(root.parent / "secret.mid")
    for look in (read_from, check_inside):
        with pytest.raises(RequestError, match="leaves the root"):
            look(storage_path(root), "out.mid", most_bytes=10)
    assert read_from(storage_path(root), "deep/a.mid", most_bytes=5) == b"music"
