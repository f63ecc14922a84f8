"""Client: order, window, retries and failed rows, on a handle made here; no cluster."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from asked import music_of, request
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from emoray.errors import ClusterError
from emoray.pipeline.failures import is_transient
from emoray.pipeline.serve_engine import CALL_BYTES, CALL_REQUESTS, answer_all
from emoray.request import GenerationRequest, Result


class Handle:
    """Answers each item with what ``script(item, attempt)`` gives; a transient error is raised."""

    def __init__(self, script: Callable[[GenerationRequest, int], Any]) -> None:
        self.script, self.tries, self.cancelled = script, dict[str, int](), list[str]()
        self.now = self.most = 0
        self.sizes: list[int] = []
        self.lock = threading.Lock()
        self.generate_many = self

    def remote(self, items: Sequence[GenerationRequest]) -> Response:
        with self.lock:
            self.sizes.append(len(items))
            for item in items:
                self.tries[item.id] = self.tries.get(item.id, 0) + 1
            self.now += len(items)
            self.most = max(self.most, self.now)
        return Response(self, items)


class Response:
    def __init__(self, handle: Handle, items: Sequence[GenerationRequest]) -> None:
        self.handle, self.items = handle, items

    def result(self, timeout_s: float) -> list[Result | Exception]:
        assert timeout_s == 5.0 * len(self.items), "items of a call share their time"
        time.sleep(0.002)
        with self.handle.lock:
            self.handle.now -= len(self.items)
        outcomes = [self.handle.script(item, self.handle.tries[item.id]) for item in self.items]
        if lost := [
            outcome for outcome in outcomes if isinstance(outcome, Exception) and is_transient(outcome)
        ]:
            raise lost[0]
        return outcomes

    def cancel(self) -> None:
        self.handle.cancelled += [item.id for item in self.items]


def ok(item: GenerationRequest, _attempt: int) -> Result:
    return Result(id=item.id, music=music_of(b"a"))


def items(n: int) -> list[GenerationRequest]:
    return [request(str(i)) for i in range(n)]


def ask(handle: Handle, n: int = 1, **settings: Any) -> list[tuple[Result, int]]:
    fixed = {"window": 4, "timeout_s": 5.0, "attempts": 3, "jitter": random.Random(0), "pause_s": 0.0}
    return answer_all(handle, items(n), **{**fixed, **settings})


def through_a_replica(error: Exception) -> Exception:
    """The error as Ray delivers it to the caller of a task."""
    return RayTaskError("answer", "Traceback ...", error).as_instanceof_cause()


def test_results_come_in_the_order_of_the_items_and_at_most_a_window_is_under_way():
    handle = Handle(ok)
    results = ask(handle, 50, window=4)
    assert [result.id for result, _ in results] == [str(i) for i in range(50)]
    assert {attempts for _, attempts in results} == {1}
    assert 1 < handle.most <= 4


def test_items_share_calls_that_stay_small():
    handle = Handle(ok)
    ask(handle, 2 * CALL_REQUESTS + 8, window=4 * CALL_REQUESTS)
    assert sorted(handle.sizes) == [8, CALL_REQUESTS, CALL_REQUESTS]
    large = [request(str(i), b"x" * (CALL_BYTES // 2)) for i in range(5)]
    handle = Handle(ok)
    answer_all(handle, large, window=64, timeout_s=5.0, attempts=1, jitter=random.Random(0))
    assert sorted(handle.sizes) == [1, 2, 2]


def test_items_of_a_call_that_was_lost_are_asked_for_one_by_one():
    handle = Handle(lambda item, attempt: ActorDiedError() if attempt == 1 else ok(item, attempt))
    results = ask(handle, 32, window=64)
    assert [(result.id, attempts) for result, attempts in results] == [(str(i), 2) for i in range(32)]
    assert sorted(handle.sizes) == [1] * 32 + [32]


def test_no_items_give_no_results():
    assert ask(Handle(ok), 0) == []


def passing_errors() -> list[Exception]:
    died, gone, busy = ActorDiedError(), ActorUnavailableError("gone", None), BackPressureError(9, 8)
    plain = RayTaskError("answer", "Traceback ...", died)  # where Ray cannot make it an instance of its cause
    return [died, gone, busy, TimeoutError(), *map(through_a_replica, (died, gone, busy)), plain]


@pytest.mark.parametrize("which", range(8))
def test_what_passes_is_tried_again(which):
    error = passing_errors()[which]
    handle = Handle(lambda item, attempt: ok(item, attempt) if attempt == 3 else error)
    ((result, attempts),) = ask(handle)
    assert (result.status, attempts) == ("ok", 3)


def test_an_item_that_never_gets_through_is_a_failed_result_that_says_so():
    ((result, attempts),) = ask(Handle(lambda item, attempt: ActorDiedError()), attempts=2)
    assert (result.status, attempts, result.music) == ("failed", 2, None)
    assert "0: tried 2 times, the last time ActorDiedError" in (result.error or "")


def test_a_call_that_takes_too_long_is_cancelled():
    handle = Handle(lambda item, attempt: TimeoutError())
    ask(handle, attempts=1)
    assert handle.cancelled == ["0"]


def test_a_bug_that_one_item_brings_out_is_its_failed_result_and_is_logged(caplog):
    bug = through_a_replica(TypeError("unsupported operand"))
    handle = Handle(lambda item, attempt: bug if item.id == "1" else ok(item, attempt))
    results = ask(handle, 3)
    assert [result.status for result, _ in results] == ["ok", "failed", "ok"]
    assert "1: unexpected TypeError: unsupported operand" in (results[1][0].error or "")
    assert results[1][1] == 1, "a bug is not tried again"
    assert "TypeError" in caplog.text


def test_an_application_that_is_gone_ends_the_batch():
    with pytest.raises(ClusterError, match="the application is gone"):
        ask(Handle(lambda item, attempt: DeploymentUnavailableError("emoray")), 2)


def test_pauses_double_and_are_spread(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr("emoray.pipeline.failures.time.sleep", slept.append)
    monkeypatch.setattr(Response, "result", lambda *_, **__: (_ for _ in ()).throw(TimeoutError()))
    ask(Handle(ok), attempts=4, pause_s=1.0, jitter=random.Random(1))
    assert len(slept) == 3
    assert all(0.5 * 2**i <= pause <= 1.5 * 2**i for i, pause in enumerate(slept))
    assert slept[1] != 2 * slept[0], "chance spreads them"


def alone(asked: list[str]) -> Callable[..., Any]:
    def answer(suspects: Any) -> list[tuple[Result, int]]:
        asked.extend(item.id for item in suspects)
        return [(ok(item, 1), 1) for item in suspects]

    return answer


def test_an_item_whose_calls_keep_dying_goes_alone_and_keeps_its_place():
    asked: list[str] = []
    handle = Handle(lambda item, attempt: ActorDiedError() if item.id == "1" else ok(item, attempt))
    results = ask(handle, 3, attempts=5, alone=alone(asked))
    assert [result.id for result, _ in results] == ["0", "1", "2"]
    assert {result.status for result, _ in results} == {"ok"}
    assert (asked, handle.tries["1"]) == (["1"], 2)


def test_one_death_or_a_crowd_sends_nobody_alone():
    asked: list[str] = []
    script = [ActorDiedError(), BackPressureError(9, 8), BackPressureError(9, 8)]
    handle = Handle(lambda item, attempt: script[attempt - 1] if attempt < 4 else ok(item, attempt))
    ((result, attempts),) = ask(handle, attempts=5, alone=alone(asked))
    assert (result.status, attempts, asked) == ("ok", 4, [])
