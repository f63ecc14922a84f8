from __future__ import annotations

from pathlib import Path

import pytest

from emoray.errors import RequestError
from emoray.readers import files
from emoray.readers.files import inside, read_inside


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
    def check_then_swap(root, text, *, most_bytes, subject):
        path = inside(root, text, most_bytes=most_bytes, subject=subject)
        (root / swapped).rename(root / "moved")
        (root / swapped).symlink_to(root.parent / "secret.mid" if "." in swapped else root / "moved")
        return path

    monkeypatch.setattr(files, "inside", check_then_swap)
    with pytest.raises(RequestError, match="cannot be read"):
        read_inside(root, "deep/a.mid", most_bytes=100)


def test_a_file_that_grew_after_the_check_is_refused(root, monkeypatch):
    def check_then_grow(root, text, *, most_bytes, subject):
        path = inside(root, text, most_bytes=most_bytes, subject=subject)
        path.write_bytes(b"longer music")
        return path

    monkeypatch.setattr(files, "inside", check_then_grow)
    with pytest.raises(RequestError, match=r"file deep/a\.mid: has 12 bytes, the limit is 5"):
        read_inside(root, "deep/a.mid", most_bytes=5)


def test_a_missing_root_is_said(tmp_path):
    with pytest.raises(RequestError, match="does not exist; check the path and the root"):
        read_inside(tmp_path / "none", "a.mid", most_bytes=5)
