"""Batches on an object store, with a real Ray: an S3 server of our own, and folders behind pyarrow."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from emoray.batch.audit import results, status, verify
from emoray.batch.folder import BatchSettings
from emoray.batch.publish import hold_folder, publish
from emoray.errors import BatchError, ManifestError
from emoray.notes import as_notes
from emoray.pipeline import batch_driver
from emoray.pipeline.batch_driver import retry_failed, run_batch
from emoray.pipeline.engines import EnginePlan
from emoray.readers.midi import read_midi
from emoray.request import GenerationRequest, Result
from emoray.storage import StoragePath, storage_path

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

SETTINGS = BatchSettings(shard_rows=2)
ROWS = 12


def echo(seconds: float, items: Sequence[GenerationRequest]) -> list[tuple[Result, int]]:
    """Music whose pitches are the request's id and its seed."""
    time.sleep(seconds)
    told = [(item.id, [*item.id.encode(), *item.seed.content]) for item in items]
    return [
        (
            Result(
                id=name, label=1, music=as_notes(range(len(data)), [1] * len(data), data, [80] * len(data))
            ),
            1,
        )
        for name, data in told
    ]


def plan(seconds: float = 0.0) -> EnginePlan:
    return EnginePlan(
        checkpoint="c" * 64,
        guidance="original",
        faces="none",
        workers=2,
        worker_cpus=0.5,
        start=lambda _: contextlib.nullcontext(partial(partial, echo, seconds)),
    )


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server in this process, with a bucket."""
    moto = pytest.importorskip("moto.server", reason="moto[s3,server] is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = f"region=us-east-1&scheme=http&endpoint_override={host}:{port}"
        storage_path(f"s3://bucket?{options}&allow_bucket_creation=true").system.create_dir("bucket")
        yield options
    finally:
        server.stop()


@pytest.fixture(params=["s3", "folders"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> StoragePath:
    """A store of its own for each test, with a manifest whose last two rows name no file that is there."""
    if request.param == "s3":
        options = request.getfixturevalue("s3")
        there = storage_path(f"s3://bucket/{tmp_path.name}?{options}")
    else:
        there = StoragePath(SubTreeFileSystem(str(tmp_path), LocalFileSystem()), "bucket")
    rows = [{"id": f"item-{row}", "seed": "seeds/a.mid", "emotion": "happy"} for row in range(1, ROWS + 1)]
    rows[-2]["seed"], rows[-1]["seed"] = "seeds/gone.mid", "../secret.mid"
    publish(
        {
            there / "manifest.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode(),
            there / "seeds" / "a.mid": b" seed",
        }
    )
    return there


def run(bucket: StoragePath, *, seconds: float = 0.0, resume: bool = False) -> Any:
    manifest, out = bucket / "manifest.jsonl", bucket / "out"
    return run_batch(manifest, out, SETTINGS, resume=resume, engine=plan(seconds))


def check(out: StoragePath, *, ok: int) -> None:
    """Every row has one result, and every good one its music."""
    rows = list(results(out))
    assert [row["row"] for row in rows] == list(range(1, ROWS + 1))
    assert [row["status"] for row in rows] == ["ok"] * ok + ["failed"] * (ROWS - ok)
    for row in rows[:ok]:
        pitches = read_midi((out / row["midi"]).read_bytes())["pitch"]
        assert bytes(pitches) == f"{row['id']} seed".encode()
    assert verify(out).sound


def test_a_batch_reads_and_writes_a_store_and_mends_its_failures(bucket):
    summary, out = run(bucket), bucket / "out"
    assert (summary.rows, summary.ok, summary.failed) == (ROWS, ROWS - 2, 2)
    check(out, ok=ROWS - 2)
    assert [row["error"] for row in results(out) if row["error"]] == [
        "seed seeds/gone.mid: does not exist; check the path and the root",
        "seed ../secret.mid: contains '..'; give a path that stays inside the root",
    ]
    assert {name.split("/")[0] for name in out.files()} == {
        "run.json",
        "fences",
        "manifest",
        "midi",
        "results",
    }
    with pytest.raises(BatchError, match=r"is complete \(12 rows\)"):
        run(bucket)
    if bucket.scheme:  # its root can be opened by its URI alone
        publish({bucket / "seeds" / "gone.mid": b" seed"})
        assert retry_failed(out, engine=plan()).ok == ROWS - 1
        check(out, ok=ROWS - 1)


def test_an_interrupted_batch_goes_on(bucket, monkeypatch):
    out, advance = bucket / "out", batch_driver.Meter.advance

    def interrupted(meter, count):
        advance(meter, count)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(batch_driver.Meter, "advance", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"interrupted: \d+ of 12 rows done"):
            run(bucket, seconds=0.5)
    assert 2 <= status(out).done < ROWS
    assert status(out).running is None
    with pytest.raises(BatchError, match="use --resume"):
        run(bucket)
    assert run(bucket, resume=True).ok == ROWS - 2
    check(out, ok=ROWS - 2)


def test_a_driver_that_is_taken_over_stops_and_no_row_is_lost_or_doubled(bucket, monkeypatch):
    out, advance = bucket / "out", batch_driver.Meter.advance

    def taken_over(meter, count):
        advance(meter, count)
        with hold_folder(out):
            pass

    with monkeypatch.context() as patch:
        patch.setattr(batch_driver.Meter, "advance", taken_over)
        with pytest.raises(BatchError, match="has been taken over by another run"):
            run(bucket, seconds=0.5)
    assert status(out).done < ROWS
    assert run(bucket, resume=True).ok == ROWS - 2
    check(out, ok=ROWS - 2)


def test_a_manifest_that_is_not_there_is_said_and_nothing_is_written(bucket):
    with pytest.raises(ManifestError, match=r"none\.jsonl: cannot be read \(No such file or directory\)"):
        run_batch(bucket / "none.jsonl", bucket / "out", SETTINGS, engine=plan())
    assert not (bucket / "out").exists()
