"""What answers items while it closes, and what reads seeds, with stages that are made here; no cluster."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from asked import request
from ray.serve.exceptions import BackPressureError, ReplicaUnavailableError

from emoray.notes import Notes, as_notes
from emoray.pipeline.failures import is_transient
from emoray.pipeline.serve_application import LONG_SEED_BYTES, Ingress, SeedReaderDeployment
from emoray.request import File, Prompt, Result
from emoray.web.settings import ServeSettings

NOTE = as_notes([0.0], [0.4], [60], [80])
ITEM = request("a")


def stage(**methods: Any) -> SimpleNamespace:
    """A handle to a deployment with these methods."""
    return SimpleNamespace(**{name: SimpleNamespace(remote=method) for name, method in methods.items()})


async def composing(composed: asyncio.Event, *, most: int) -> tuple[Ingress, asyncio.Task[Result]]:
    """What answers, at an item that is composed once the event is set."""

    async def read(seeds: Sequence[File]) -> list[Notes]:
        return [NOTE for _ in seeds]

    async def compose(requests: Sequence[Prompt]) -> list[Notes]:
        await composed.wait()
        return [NOTE for _ in requests]

    async def guidance() -> str:
        return "none"

    ingress = Ingress(
        stage(read_many=read), stage(read_many=read), stage(compose_many=compose, guidance=guidance), most
    )
    under_way = asyncio.create_task(ingress.generate(ITEM))
    await asyncio.sleep(0.01)
    return ingress, under_way


def test_closing_waits_for_what_is_under_way_and_refuses_what_comes_later():
    async def scenario() -> None:
        ingress, under_way = await composing(composed := asyncio.Event(), most=9)
        closed = asyncio.create_task(ingress.close())
        await asyncio.sleep(0.3)
        assert not closed.done()
        with pytest.raises(ReplicaUnavailableError) as late:
            await ingress.generate(ITEM)
        assert is_transient(late.value), "so HTTP says 503 and when to come back"
        composed.set()
        assert (await under_way).status == "ok"
        await asyncio.wait_for(closed, 5)

    asyncio.run(scenario())


def test_who_comes_when_as_many_are_under_way_as_may_be_hears_it_at_once():
    async def scenario() -> None:
        ingress, under_way = await composing(composed := asyncio.Event(), most=1)
        with pytest.raises(BackPressureError) as busy:
            await ingress.generate(ITEM)
        assert is_transient(busy.value)
        composed.set()
        assert (await under_way).status == (await ingress.generate(ITEM)).status == "ok"

    asyncio.run(scenario())


def test_seeds_are_read_one_after_the_other_and_none_waits_for_a_long_one():
    """Each by a thread that holds the GIL most of the time; a long recording takes it for seconds."""
    may_end, at_once, most = threading.Event(), [], []

    def read(seed: File) -> Notes:
        at_once.append(seed)
        most.append(len(at_once))
        if seed.name == "long":
            assert may_end.wait(10)
        at_once.remove(seed)
        return NOTE

    async def scenario() -> None:
        seeds = SeedReaderDeployment(ServeSettings(), lambda _: read)
        long = asyncio.create_task(seeds.read(File("long", bytes(LONG_SEED_BYTES + 1))))
        await asyncio.sleep(0.05)
        short = await asyncio.wait_for(seeds.read_many([ITEM.seed] * 20), 5)
        assert (len(short), long.done()) == (20, False)
        may_end.set()
        await long
        assert max(most) == 2

    asyncio.run(scenario())


def test_a_caller_who_leaves_keeps_its_turn_until_its_thread_ends_and_work_not_begun_is_not_begun():
    """A thread cannot be stopped: with a turn for each who left, as many would run at once."""
    may_end, begun = threading.Event(), list[str]()

    def read(seed: File) -> Notes:
        begun.append(seed.name)
        assert may_end.wait(10)
        return NOTE

    async def scenario() -> None:
        seeds = SeedReaderDeployment(ServeSettings(), lambda _: read)
        leaving = [asyncio.create_task(seeds.read(File(f"left-{number}", b""))) for number in range(6)]
        await asyncio.sleep(0.05)
        for task in leaving:
            task.cancel()
        stays = asyncio.create_task(seeds.read(File("stays", b"")))
        await asyncio.sleep(0.2)
        assert begun == ["left-0"]
        may_end.set()
        assert len(await asyncio.wait_for(stays, 5)) == 1
        assert begun == ["left-0", "stays"]

    asyncio.run(scenario())
