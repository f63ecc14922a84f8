"""What tests of batches share: a fake engine, a manifest, and a driver that can be killed.

Run as a script, this file is that driver: ``batches.py MANIFEST OUT LOG SECONDS``. It joins the Ray that
RAY_ADDRESS names, or starts one.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ray import cloudpickle

from emoray.batch.audit import results
from emoray.batch.folder import BatchSettings
from emoray.batch.shard import Engine
from emoray.notes import as_notes
from emoray.pipeline.batch_driver import run_batch
from emoray.pipeline.engines import EnginePlan
from emoray.pipeline.failures import isolated, watched
from emoray.request import GenerationRequest, Result

SETTINGS = BatchSettings(shard_rows=4)
NOISE, DEADLY, ENDLESS = b"noise", b"deadly", b"endless"
"""Seeds that fail, that end the process, and that take for ever."""

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a worker cannot import it


def fake_engine(log: Path, seconds: float) -> Engine:
    """Music whose pitches tell its request, a line in the log for each request, and time to be killed."""

    def answer(items: Sequence[GenerationRequest]) -> list[tuple[Result, int]]:
        time.sleep(seconds)
        with log.open("a") as file:
            file.write("".join(f"{item.id}\n" for item in items))
        with contextlib.suppress(FileNotFoundError):
            log.with_name("poison").unlink()
            os._exit(1)  # as if the node had died
        return [(one(item), 1) for item in items]

    def one(item: GenerationRequest) -> Result:
        if item.seed.content == DEADLY:
            os._exit(1)  # as the kernel does when memory is short
        if item.seed.content == ENDLESS:
            time.sleep(3600)
        if item.seed.content == NOISE:
            return Result(id=item.id, error=f"{item.seed.name}: is not music")
        told = f"{item.id} {item.emotion} {item.strength}".encode() + item.seed.content
        music = as_notes(range(len(told)), [1.0] * len(told), [*told], [80] * len(told))
        return Result(id=item.id, label=1, valence=item.emotion, music=music)

    return answer


def plan(log: Path, seconds: float = 0.0, limit: float = 60.0, **changes: Any) -> EnginePlan:
    """The fake engine as ``plan_engine`` gives the ``data`` engine, with two attempts alone."""
    build = partial(fake_engine, log, seconds)
    within = partial(watched, build, limit)
    fields = {
        "checkpoint": "c" * 64,
        "guidance": "original",
        "faces": "none",
        "workers": 2,
        "worker_cpus": 0.5,
    }
    guarded = {
        "start": lambda _: contextlib.nullcontext(within),
        "alone": isolated(build, attempts=2, seconds=limit),
    }
    return EnginePlan(**(guarded | fields | changes))


def good(number: int) -> dict[str, Any]:
    """A row that can be answered."""
    return {"id": f"item-{number}", "seed": f"{number % 4}.mid", "emotion": "happy"}


def write_manifest(folder: Path, rows: Sequence[object]) -> Path:
    """A manifest and the four seeds that its good rows name."""
    for number in range(4):
        (folder / f"{number}.mid").write_bytes(b"seed %d" % number)
    path = folder / "manifest.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def music(out: Path) -> dict[str, bytes]:
    """The music of each item."""
    return {row["id"]: (out / row["midi"]).read_bytes() for row in results(out) if row["midi"]}


def processes_of_these_tests(name: str) -> list[Any]:
    """Ray's processes of that name below this one."""
    import psutil  # ships inside Ray, which puts it on the path

    family = psutil.Process().children(recursive=True)
    return [process for process in family if name in process.name()]


def composed(log: Path) -> Counter[str]:
    """How often each item was answered."""
    return Counter(log.read_text().split())


def told(out: Path) -> list[dict[str, Any]]:
    """The ledger without how long it took."""
    return [{name: value for name, value in row.items() if name != "milliseconds"} for row in results(out)]


def start_driver(
    manifest: Path, out: Path, log: Path, seconds: float, **environment: str
) -> subprocess.Popen[str]:
    """A driver in a process of its own, at the head of a process group of its own."""
    command = [sys.executable, __file__, manifest, out, log, seconds]
    return subprocess.Popen(
        [str(part) for part in command],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(what: Callable[[], object], driver: subprocess.Popen[Any], seconds: float = 120) -> None:
    """Wait while the driver runs."""
    deadline = time.monotonic() + seconds
    while not what():
        assert driver.poll() is None, f"the driver ended by itself: {driver.communicate()[0]}"
        assert time.monotonic() < deadline, f"waited for {seconds} s"
        time.sleep(0.05)


def main(manifest: str, out: str, log: str, seconds: str) -> None:
    """A driver that ends as the command does."""
    from emoray import cli
    from emoray.cli import ray_session, shared

    ray_session.HEAD_SILENCE = 10.0

    @shared.app.command()
    def drive() -> None:
        ray_session.start_ray()
        run_batch(Path(manifest), Path(out), SETTINGS, resume=True, engine=plan(Path(log), float(seconds)))

    sys.argv[1:] = ["drive"]
    cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
