"""The demo's manifest, as the batch reads it."""

from emoray.config import Limits
from emoray.demo.files import write_demo
from emoray.readers.manifest import read_files, read_manifest
from emoray.request import GenerationRequest
from emoray.storage import storage_path


def test_the_manifest_is_accepted_with_no_bad_row(tmp_path):
    written = write_demo(tmp_path)
    requests = read_manifest(written.manifest.read_bytes(), name=written.manifest.name)
    assert all(isinstance(one, GenerationRequest) for one in requests)
    for request in requests:
        read_files(request, storage_path(tmp_path), Limits())
    assert 8 <= len(requests) <= 10
    assert {-1.0, 1.0} < {request.emotion for request in requests}
    assert all(request.notes for request in requests)
