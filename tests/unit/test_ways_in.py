"""The same pair gives the same bytes whichever way it comes in: with the shipped checkpoint, without Ray."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest

from emoray.batch import ledger
from emoray.batch.ledger import Layout
from emoray.batch.publish import hold_folder
from emoray.batch.shard import Work, process_shard
from emoray.batch.stored_manifest import write_manifest_rows
from emoray.cli import main
from emoray.compose.decoding import BatchDecoder
from emoray.generation import generate_results
from emoray.model.checkpoint import load_checkpoint
from emoray.notes import as_notes
from emoray.readers.manifest import read_manifest
from emoray.readers.seed import read_seed
from emoray.request import GenerationRequest, Result
from emoray.storage import storage_path
from emoray.web.app import build_app
from emoray.web.settings import HttpSettings
from emoray.writers.midi import midi_bytes

TUNE = midi_bytes(as_notes(np.arange(20) * 0.25, [0.2] * 20, 60 + np.arange(20) % 12, [80] * 20))


@pytest.fixture(scope="module")
def engine():
    checkpoint = load_checkpoint(None)
    decoder = BatchDecoder(checkpoint)

    def answer(requests: Sequence[GenerationRequest]) -> list[Result]:
        return generate_results(
            requests,
            read_seed=lambda file: read_seed(file.content, sounding=checkpoint.sounding),
            read_faces=lambda _: [],
            compose=decoder.compose,
            guidance=checkpoint.guidance,
        )

    return answer


def by_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[str, bytes]:
    (folder / "hum.mid").write_bytes(TUNE)
    options = ["--seed", str(folder / "hum.mid"), "--emotion", "sad", "--notes", "8"]
    monkeypatch.setattr(sys, "argv", ["emoray", "generate", *options, "--out", str(folder / "music.mid")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    return capsys.readouterr().out.rpartition(" ")[2].strip(), (folder / "music.mid").read_bytes()


def by_post(engine) -> tuple[str, bytes]:
    async def answer(request: GenerationRequest) -> Result:
        return engine([request])[0]

    async def ready() -> str:
        return "cfg"

    app = build_app(answer, ready, lambda _: False, HttpSettings())

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            form = {"emotion": "-1", "notes": "8"}
            return await client.post("/v1/generate", files={"seed": TUNE}, data=form)

    response = asyncio.run(post())
    return response.headers["x-emoray-random-seed"], response.content


def by_batch(engine, folder: Path) -> list[tuple[str, bytes]]:
    """Two rows that differ in id and path and in nothing that can be heard."""
    for name in ("one.mid", "two.mid"):
        (folder / name).write_bytes(TUNE)
    manifest = b"id,seed,emotion,notes\nfirst,one.mid,sad,8\n,two.mid,-1,8\n"
    layout = Layout(storage_path(folder / "out"), rows=2, shard_rows=2)
    write_manifest_rows(layout, read_manifest(manifest, name="m.csv"))
    with hold_folder(layout.out) as token:
        work = Work(
            layout=layout, root=storage_path(folder), fencing_token=token, guidance=None, strength=1.0,
            without_seed=False,
        )  # fmt: skip
        process_shard(work, 0, lambda requests: [(result, 1) for result in engine(requests)])
    rows = ledger.read_part(layout, 0)
    assert rows is not None
    return [(str(row["random_seed"]), (layout.out / row["midi"]).read_bytes()) for row in rows]


def test_the_same_pair_gives_the_same_bytes_whichever_way_it_comes_in(engine, tmp_path, monkeypatch, capsys):
    """By default, without a random seed: it follows from the content, and every way in says which it was."""
    ways = [by_command(tmp_path, monkeypatch, capsys), by_post(engine), *by_batch(engine, tmp_path)]
    assert len(ways) == 4
    assert len(set(ways)) == 1
