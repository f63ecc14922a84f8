"""The demo's manifest, as the batch reads it."""

from emoray.demo.files import write_demo
from emoray.readers.manifest import read_manifest


def test_the_manifest_is_accepted_with_no_bad_row(tmp_path):
    written = write_demo(tmp_path)
    entries = read_manifest(written.manifest.read_bytes(), name=written.manifest.name, root=tmp_path)
    assert [entry.error for entry in entries] == [None] * len(entries)
    assert 8 <= len(entries) <= 10
    assert {-1.0, 1.0} < {entry.valence for entry in entries}
    assert all(entry.notes for entry in entries)
