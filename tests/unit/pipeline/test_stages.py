"""Stages: batches that fail as a whole, and one item through stages that live elsewhere; no Ray."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from asked import request

from emoray.config import BaselinePreset
from emoray.dataset.clusters import EmotionClusters
from emoray.emotion import Evidence
from emoray.errors import FaceError, MidiError, RequestError
from emoray.generation import generate_results
from emoray.model.baseline import BaselineNetwork
from emoray.model.checkpoint import save_checkpoint
from emoray.notes import as_notes
from emoray.pipeline.failures import errors_apart
from emoray.pipeline.serve_application import generate_by_stages, in_pieces
from emoray.pipeline.worker import LOADERS
from emoray.request import File, GenerationRequest, Result
from emoray.web.settings import ServeSettings
from emoray.writers.midi import midi_bytes

SEED = as_notes([0.0], [0.4], [60], [80])
MORE = as_notes([0.5, 1.0], [0.4] * 2, [62, 64], [80] * 2)


def tenfold(numbers: Sequence[int]) -> list[int]:
    if 0 in numbers:
        raise ZeroDivisionError("a bug")
    if 13 in numbers:
        raise RequestError("notes", "13 is too many; ask for fewer")
    return [10 * number for number in numbers]


def test_one_bad_member_does_not_harm_its_batch(caplog):
    one, two, bug, mistake = errors_apart(tenfold, [1, 2, 0, 13])
    assert (one, two) == (10, 20)
    assert isinstance(bug, ZeroDivisionError)
    assert isinstance(mistake, RequestError)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1, "the bug's traceback is logged, a user's mistake is not"


def test_a_good_batch_is_one_call():
    calls = []
    errors_apart(lambda numbers: calls.append(len(numbers)) or list(numbers), [1, 2, 3])
    assert calls == [3]


def test_in_pieces_a_stage_gives_the_same_answers_by_calls_that_are_under_way_together():
    calls: list[list[int]] = []

    async def slow(numbers: Sequence[int]) -> list[int]:
        calls.append(list(numbers))
        while len(calls) < 3:  # else it would wait for ever
            await asyncio.sleep(0)
        return tenfold(numbers)

    assert asyncio.run(in_pieces(slow, 2)([1, 2, 3, 4, 5])) == [10, 20, 30, 40, 50]
    assert calls == [[1, 2], [3, 4], [5]]


def answered(
    item: GenerationRequest, *, face: Any = None, seed: Any = SEED, composed: Any = MORE
) -> Result | Exception:
    [outcome] = asyncio.run(outcomes([item], face=face, seed=seed, composed=composed))
    return outcome


async def outcomes(
    items: Sequence[GenerationRequest], *, face: Any = None, seed: Any = SEED, composed: Any = MORE
) -> list[Result | Exception]:
    def given(value: Any) -> Any:
        async def stage(asked: Sequence[Any]) -> list[Any]:
            return [value(one) if callable(value) else value for one in asked]

        return stage

    return await generate_by_stages(
        items, read_faces=given(face), read_seeds=given(seed), compose=given(composed), guidance="none"
    )


def test_an_item_goes_through_all_stages():
    face = Evidence(status="ok", label=-1, valence=-0.9, faces=1, backend="fake")
    result = answered(request("a", image=b"y"), face=face)
    assert (result.status, result.label, result.seed_notes, result.notes) == ("ok", -1, 1, 2)


def test_a_bad_seed_is_a_failed_result():
    result = answered(request("a"), seed=MidiError("seed", "is text; export it"))
    assert (result.status, result.error) == ("failed", "seed: is text; export it")


def test_what_the_stages_refuse_is_a_failed_result():
    item = request("a", image=b"y", emotion=1.0)
    ok = Evidence(status="ok", label=1, valence=1.0)
    assert answered(item, face=FaceError("face", "no weights; fetch them")).status == "failed"
    assert (
        answered(item, face=ok, composed=RequestError("notes", "too many; ask for fewer")).status == "failed"
    )


def test_a_bug_in_a_stage_is_the_exception_of_its_item():
    item = request("a", image=b"y", emotion=1.0)
    ok = Evidence(status="ok", label=1, valence=1.0)
    for bug in ({"face": KeyError()}, {"face": ok, "seed": KeyError()}, {"face": ok, "composed": KeyError()}):
        assert isinstance(answered(item, **bug), KeyError)


def test_items_that_are_answered_together_keep_their_order_and_harm_no_neighbour():
    def read(seed: File) -> Any:
        return {b"good": SEED, b"text": MidiError("seed", "is text"), b"bug": KeyError()}[seed.content]

    items = [request(seed.decode(), seed) for seed in (b"bug", b"good", b"text", b"good")]
    bug, good, text, again = asyncio.run(outcomes(items, seed=read))
    assert isinstance(bug, KeyError)
    assert [(one.id, one.status) for one in (good, text, again)] == [
        ("good", "ok"), ("text", "failed"), ("good", "ok"),
    ]  # fmt: skip


def test_a_picture_goes_to_the_item_that_brought_it():
    def face(picture: bytes) -> Any:
        return Evidence(status="ok", label=1 if picture == b"happy" else -1, valence=0.5, backend="fake")

    pictures = [None, b"happy", None, b"sad"]
    items = [request(str(n), image=picture, emotion=1.0) for n, picture in enumerate(pictures)]
    results = asyncio.run(outcomes(items, face=face))
    assert [result.backend for result in results] == [None, "fake", None, "fake"]


def test_the_seed_reader_is_not_sent_the_picture():
    seen: list[File] = []

    def read(seed: File) -> Any:
        seen.append(seed)
        return SEED

    face = Evidence(status="ok", label=1, valence=1.0)
    answered(request("a", image=b"y"), face=face, seed=read)
    assert seen == [File("seed", b"x")]


def test_the_real_stages_answer_an_item_together(tmp_path):
    """Reader, network and writer as a replica loads them; the network is not trained."""
    pytest.importorskip("emoray.readers.seed")
    settings = ServeSettings(checkpoint=untrained(tmp_path), faces="fer-mini")
    composer, guidance = LOADERS.composer(settings)
    items = [
        request("a", midi_bytes(SEED), notes=3),
        request("b", b"text"),
        request("c", midi_bytes(SEED), b"no picture"),
    ]
    a, b, c = generate_results(
        items,
        read_faces=LOADERS.faces(settings),
        read_seed=LOADERS.seeds(settings),
        compose=composer.compose,
        guidance=guidance,
    )
    assert (a.status, a.seed_notes, a.notes) == ("ok", 1, 3)
    assert (b.status, c.status, c.image_status) == ("failed", "failed", "decode_error")


def test_a_guidance_that_was_asked_for_beats_the_checkpoints(tmp_path):
    settings = ServeSettings(checkpoint=untrained(tmp_path), guidance="none")
    assert LOADERS.composer(settings)[1] == "none"


def untrained(folder: Path) -> Path:
    centroids = ((0.0,) * 9, (1.0,) * 9)
    clusters = EmotionClusters(
        window=25,
        durations="key-down",
        mean=(0.0,) * 9,
        scale=(1.0,) * 9,
        centroids=centroids,
        happy=1,
        sizes=(1, 1),
        rule="none",
    )
    preset = BaselinePreset(hidden=8)
    save_checkpoint(
        folder, network=BaselineNetwork(8), preset=preset, clusters=clusters, metrics={}, card="untrained"
    )
    return folder
