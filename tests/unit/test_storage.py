from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path

import pytest
from pyarrow.fs import FileSystemHandler, LocalFileSystem, PyFileSystem, _MockFileSystem

from emoray import storage
from emoray.batch.publish import publish
from emoray.errors import BatchError
from emoray.storage import StoragePath, concurrent_map, storage_path

S3 = "s3://bucket/night-1?region=eu-central-1&endpoint_override=localhost:9"


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> StoragePath:
    there = (
        storage_path(tmp_path) if request.param == "disk" else StoragePath(_MockFileSystem(), "bucket/night")
    )
    publish({there / "a.mid": b"music", there / "deep" / "er" / "b.mid": b"more"})
    return there


class Failing(FileSystemHandler):
    """A store whose every request ends in the words of its client."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __getattribute__(self, name):
        if name.startswith(("open", "get_file")):
            raise OSError(object.__getattribute__(self, "words"))
        return object.__getattribute__(self, name)


for name in FileSystemHandler.__abstractmethods__:
    setattr(Failing, name, lambda self, *_: None)
Failing.__abstractmethods__ = frozenset()


def failing(words: str) -> StoragePath:
    return StoragePath(PyFileSystem(Failing(words)), "bucket/x", "s3")


def test_a_path_is_a_place_on_this_machine_wherever_we_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("out/x", Path("out/x"), f"file://{tmp_path}/out/x", storage_path("out/x")):
        assert storage_path(text) == StoragePath(LocalFileSystem(), f"{tmp_path}/out/x")
        assert storage_path(text).local == tmp_path / "out" / "x"
        assert str(storage_path(text)) == storage_path(text).uri == f"{tmp_path}/out/x"


def test_a_uri_is_a_key_of_a_store_and_comes_back_from_its_uri():
    key = storage_path(S3) / "midi" / "a.mid"
    assert (key.path, str(key), key.local) == (
        "bucket/night-1/midi/a.mid",
        "s3://bucket/night-1/midi/a.mid",
        None,
    )
    assert (key.name, key.parent.parent) == ("a.mid", storage_path(S3))
    assert storage_path(key.uri) == key
    assert storage_path("gcs://bucket/night-1").uri == "gs://bucket/night-1"


@pytest.mark.parametrize("where", ["/music/out", S3, "gs://bucket/x"])
def test_a_place_travels(where):
    assert pickle.loads(pickle.dumps(storage_path(where))) == storage_path(where)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("ftp://host/x", "is not one of s3://, gs://, file://"),
        ("s3://key:secret@bucket/x", "holds credentials"),
        ("s3://", "names no bucket"),
        ("s3://bucket/x?colour=red", "cannot be used .*colour"),
        ("file://host/x", "cannot be used"),
    ],
)
def test_a_uri_that_cannot_be_used_is_refused_in_a_sentence(where, reason):
    with pytest.raises(BatchError, match=reason) as caught:
        storage_path(where)
    assert "secret" not in str(caught.value)


def test_files_are_read_listed_and_deleted(folder):
    assert folder.files() == ["a.mid", "deep/er/b.mid"]
    assert folder.children() == (["a.mid"], ["deep"])
    assert (folder / "a.mid").read_bytes() == b"music"
    assert (folder / "a.mid").read_bytes(2) == b"mu"
    for _ in range(2):
        (folder / "a.mid").delete()
    assert not (folder / "a.mid").exists()
    assert (folder / "deep" / "er" / "b.mid").exists()


def test_what_is_not_there_is_empty_or_missing(folder):
    assert (folder / "none").files() == []
    assert (folder / "none").children() == ([], [])
    assert (folder / "a.mid").children() == (folder / "a.mid" / "b").children() == ([], [])
    with pytest.raises(FileNotFoundError) as caught:
        (folder / "none").read_bytes()
    assert caught.value.strerror == "No such file or directory"


@pytest.mark.parametrize(
    "words",
    [
        "AWS Error ACCESS_DENIED during HeadObject operation: No response body.",
        "google::cloud::Status(UNAVAILABLE: Could not create a OAuth2 access token to authenticate",
    ],
)
def test_missing_credentials_are_said_in_a_line(words):
    with pytest.raises(
        PermissionError, match=r"access denied: give every node credentials for s3:// that may"
    ):
        failing(words).read_bytes()
    with pytest.raises(BatchError, match=r"cannot be written \(access denied.*\); mend that") as caught:
        publish({failing(words): b""})
    assert "\n" not in str(caught.value)
    for ask in (StoragePath.exists, StoragePath.files, StoragePath.children):
        with pytest.raises(BatchError, match=r"s3://bucket/x: cannot be used \(access denied"):
            ask(failing(words))


def test_a_store_that_is_down_is_not_a_missing_file():
    words = "AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7"
    for ask in (
        StoragePath.read_bytes,
        StoragePath.exists,
        StoragePath.files,
        lambda there: publish({there: b""}),
    ):
        with pytest.raises(BatchError, match=r"s3://bucket/x: cannot be reached \(.*curlCode: 7\)"):
            ask(failing(words))


def slowly_doubled(number):
    time.sleep(0.03)  # as a store does
    return number * 2


def test_what_waits_is_done_in_threads_in_order_and_not_far_ahead(monkeypatch):
    monkeypatch.setattr(storage, "MAX_THREADS", 2)
    taken = []
    outputs = concurrent_map(slowly_doubled, (taken.append(n) or n for n in range(20)))
    assert next(outputs) == 0
    assert len(taken) == 1, "the first one tells that it waits"
    assert next(outputs) == 2
    assert len(taken) == 1 + 5
    assert list(outputs) == [2 * n for n in range(2, 20)]


def test_what_does_not_wait_is_done_by_the_thread_that_asks(monkeypatch):
    monkeypatch.setattr(storage, "THREADS_AFTER_SECONDS", 60.0)  # others use the machine too
    here = concurrent_map(lambda _: threading.get_ident(), range(1000))
    assert set(here) == {threading.get_ident()}


def test_an_error_in_a_thread_arrives():
    with pytest.raises(ZeroDivisionError):
        list(concurrent_map(lambda number: slowly_doubled(1) / number, [1, 0]))
