from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

import pytest

from emoray.batch import ledger, shard
from emoray.batch.audit import status_of
from emoray.batch.ledger import Layout
from emoray.batch.publish import hold_folder, publish, scratch_files
from emoray.batch.shard import Work, process_shard
from emoray.batch.stored_manifest import write_manifest_rows
from emoray.errors import ClusterError
from emoray.notes import Notes, as_notes
from emoray.request import File, GenerationRequest, Result
from emoray.storage import StoragePath
from emoray.writers.midi import midi_bytes


def notes(data: bytes) -> Notes:
    """Music that tells which seed it is made of."""
    return as_notes([0.0] * len(data), [1.0] * len(data), [*data], [80] * len(data))


class Echo:
    """An engine whose music is made of the seed's bytes; a seed that says ``bad`` fails."""

    def __init__(self) -> None:
        self.asked: list[list[GenerationRequest]] = []

    def __call__(self, requests: Sequence[GenerationRequest]) -> list[tuple[Result, int]]:
        """Each request took two attempts."""
        self.asked.append(list(requests))
        return [(self.result(request), 2) for request in requests]

    def result(self, request: GenerationRequest) -> Result:
        """One result."""
        if request.seed.content == b"bad":
            return Result(id=request.id, error=f"{request.seed.name}: half a \ud800 pair")
        return Result(id=request.id, label=1, valence=1.0, seed_notes=1, music=notes(request.seed.content))


@pytest.fixture
def work(folder: StoragePath) -> Work:
    root = folder / "root"
    publish({root / f"{name}.mid": name.encode() for name in ("a", "b", "bad")})
    publish({root / "face.png": b"face"})
    layout = Layout(folder / "out", rows=5, shard_rows=5)
    with hold_folder(layout.out) as token:
        pass
    rows = [
        GenerationRequest(id="a", seed="a.mid", emotion=1.0),
        Result(id="a", error="id a: is given twice, first in row 1"),
        GenerationRequest(id="b", seed="b.mid", image="face.png", strength=0.5, guidance="none", notes=7),
        GenerationRequest(id="bad", seed="bad.mid", emotion=1.0),
        GenerationRequest(id="gone", seed="gone.mid", emotion=1.0),
    ]
    write_manifest_rows(layout, rows)
    return Work(
        layout=layout, root=root, fencing_token=token, guidance="original", strength=2.0, without_seed=True
    )


def test_every_row_has_its_result_and_all_music_its_file(work):
    summary = process_shard(work, 0, Echo())
    assert summary == {"shard": 0, "rows": 5, "ok": 2, "failed": 3, "problem": None}
    rows = ledger.read_part(work.layout, 0)
    assert [(row["row"], row["status"], row["attempts"]) for row in rows] == [
        (1, "ok", 2), (2, "failed", 0), (3, "ok", 2), (4, "failed", 2), (5, "failed", 1),
    ]  # fmt: skip
    assert [row["error"] for row in rows if row["error"]] == [
        "id a: is given twice, first in row 1",
        "bad.mid: half a \\ud800 pair",
        "seed gone.mid: does not exist; check the path and the root",
    ]
    assert {row["midi"]: (work.layout.out / row["midi"]).read_bytes() for row in rows if row["midi"]} == {
        ledger.music_path("a"): midi_bytes(notes(b"a")),
        ledger.music_path("b"): midi_bytes(notes(b"b")),
    }


def test_a_request_takes_the_settings_of_the_run_where_it_names_none(work):
    engine = Echo()
    process_shard(work, 0, engine)
    plain, picky, _ = engine.asked[0]
    assert plain.seed == File("a.mid", b"a")
    assert (plain.emotion, plain.strength, plain.guidance, plain.without_seed) == (1.0, 2.0, "original", True)
    assert (picky.image, picky.notes) == (File("face.png", b"face"), 7)
    assert (picky.strength, picky.guidance) == (0.5, "none")


def test_a_file_that_appears_before_its_turn_is_answered(work):
    publish({work.root / "gone.mid": b"found"})
    assert process_shard(work, 0, Echo())["ok"] == 3


def test_again_asks_only_for_failed_rows_and_counts_their_attempts(work):
    process_shard(work, 0, Echo())
    before = ledger.read_part(work.layout, 0)
    publish({work.root / "bad.mid": b"fine"})
    engine = Echo()
    process_shard(dataclasses.replace(work, again=True), 0, engine)
    assert [request.id for request in engine.asked[0]] == ["bad"]
    after = ledger.read_part(work.layout, 0)
    assert [row["attempts"] for row in after] == [2, 0, 2, 4, 2]
    assert [after[place] for place in (0, 2)] == [before[place] for place in (0, 2)]
    assert (after[3]["status"], after[3]["error"]) == ("ok", None)


def test_large_files_are_answered_in_pieces(work, monkeypatch):
    monkeypatch.setattr(shard, "MOST_BYTES", 1)
    engine = Echo()
    assert process_shard(work, 0, engine)["ok"] == 2
    assert [len(together) for together in engine.asked if together] == [1, 1, 1]


def test_a_worker_of_an_earlier_drive_no_longer_commits(work):
    engine = Echo()

    def overtaken(items: Sequence[GenerationRequest]) -> list[tuple[Result, int]]:
        with hold_folder(work.layout.out):
            return engine(items)

    for answer in (overtaken, engine):  # by a drive that begins meanwhile, and by one that has begun
        summary = process_shard(work, 0, answer)
        assert "taken over by another run" in summary["problem"][1]
        assert ledger.pending(work.layout) == [0]
        assert not ledger.music_files(work.layout.out)
        assert not scratch_files(work.layout.out)
    assert len(engine.asked) == 1, "the second time nothing was begun"


def test_a_service_that_is_gone_is_the_problem_of_the_grain_and_of_no_row(work):
    def gone(_requests):
        raise ClusterError("serve", "the application is gone")

    assert process_shard(work, 0, gone)["problem"] == ["serve", "the application is gone"]
    assert status_of(work.layout).done == 0


def test_a_folder_that_cannot_be_written_is_the_problem_of_the_grain(work):
    publish({work.layout.out / "results": b"in the way"})
    summary = process_shard(work, 0, Echo())
    assert "cannot be written" in summary["problem"][1]
    (work.layout.out / "results").delete()
    assert process_shard(work, 0, Echo())["problem"] is None


def test_a_grain_that_killed_a_worker_is_answered_apart(work, monkeypatch):
    together, apart = Echo(), Echo()
    process_shard(work, 0, together, apart)
    assert (len(together.asked), len(apart.asked)) == (1, 0)
    monkeypatch.setattr(shard, "count_deaths", lambda *_: contextlib.nullcontext(1))
    process_shard(work, 0, together, apart)
    assert (len(together.asked), len(apart.asked)) == (1, 1)


def test_a_grain_that_kills_every_worker_is_the_problem_of_the_batch(work, monkeypatch):
    monkeypatch.setattr(shard, "count_deaths", lambda *_: contextlib.nullcontext(work.attempts))
    _, reason = process_shard(work, 0, Echo(), Echo())["problem"]
    assert reason.startswith("5 workers died over rows 1 to 5; give workers more memory")
