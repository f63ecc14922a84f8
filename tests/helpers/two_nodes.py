"""A cluster of two nodes that loses one, or its head: a script, so that no other Ray is disturbed.

``two_nodes.py FOLDER WHAT...``; WHAT is ``ingest``, ``batch``, ``train`` or ``head``. It leaves what the work
has made in FOLDER, and prints ``lost at work`` for each node that was at work when it was lost.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray
from batches import SETTINGS, plan, start_driver, wait_for
from ray.cluster_utils import Cluster

from emoray.pipeline import ingest as ingesting
from emoray.pipeline.batch_driver import run_batch

SMALL = {"num_cpus": 2, "object_store_memory": 80_000_000}
write_part = ingesting.write_part


@contextlib.contextmanager
def cluster_of_two() -> Iterator[tuple[Cluster, Any]]:
    """The cluster and the node that will be lost."""
    cluster = Cluster(initialize_head=True, head_node_args=SMALL | {"include_dashboard": False})
    try:
        yield cluster, cluster.add_node(**SMALL)
    finally:
        ray.shutdown()
        cluster.shutdown()


def at_work(node: Any) -> bool:
    """Whether a task runs on the node."""
    import psutil  # ships inside Ray, which puts it on the path

    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    names = [process.name() for process in raylet.children(recursive=True)]
    return any(name.startswith("ray::") and "IDLE" not in name for name in names)


def lose(cluster: Cluster, node: Any, when: Callable[[], bool], work: Future[None]) -> Any:
    """Kill the node once it is at work, and bring another, as an autoscaler would; gives that one."""
    while not (when() and at_work(node)):
        if work.done():
            return node
        time.sleep(0.02)
    sys.stdout.write("lost at work\n")
    cluster.remove_node(node, allow_graceful=False)
    return cluster.add_node(**SMALL)


def slow_part(*args: Any, **options: Any) -> Any:
    """A part of a corpus that leaves time to lose a node."""
    time.sleep(0.3)
    return write_part(*args, **options)


def ingest(folder: Path) -> None:
    """Sixteen parts of four files."""
    ingesting.SHARD_FILES, ingesting.write_part = 4, slow_part
    ingesting.ingest(folder / "midi", folder / "ingested")


def batch(folder: Path) -> None:
    """Ten shards by four workers."""
    engine = plan(folder / "log", 0.5, workers=4, worker_cpus=1.0)
    run_batch(folder / "manifest.jsonl", folder / "out", SETTINGS, engine=engine)


def train(folder: Path) -> None:
    """Two workers, each as large as a node."""
    from tunes import PRESET, run_of

    from emoray.pipeline.training import TrainSettings
    from emoray.pipeline.training import train as fit

    fit(
        folder / "corpus", run_of(folder / "run", folder), PRESET, TrainSettings(workers=2, cpus_per_worker=2)
    )


def head(folder: Path) -> None:
    """A driver on a cluster whose head goes; prints how it ended."""
    with cluster_of_two() as (cluster, _):
        files = [folder / name for name in ("manifest.jsonl", "out", "log")]
        driver = start_driver(*files, 0.5, RAY_ADDRESS=cluster.address)
        try:
            wait_for(lambda: list((folder / "out" / "results").glob("part-*")), driver)
            cluster.head_node.kill_gcs_server()
            gone = time.monotonic()
            said, _ = driver.communicate(timeout=150)
            sys.stdout.write(f"{said}code {driver.returncode} after {time.monotonic() - gone:.0f} s\n")
        finally:
            driver.kill()
            driver.wait()


def main(folder: Path, *tasks: str) -> None:
    """Do the work, and lose a node meanwhile."""
    if tasks == ("head",):
        head(folder)
        return
    works: dict[str, tuple[Callable[[Path], None], Callable[[], bool]]] = {
        "ingest": (ingest, lambda: bool(list(folder.glob("ingested.staging-*/part-*")))),
        "batch": (batch, lambda: bool(list(folder.glob("out/results/part-*")))),
        "train": (train, (folder / "run" / "metrics.jsonl").is_file),
    }
    with cluster_of_two() as (cluster, node):
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        with ThreadPoolExecutor(1) as beside:  # a node can be added by the main thread alone
            for work, when in (works[task] for task in tasks):
                working = beside.submit(work, folder)
                node = lose(cluster, node, when, working)
                working.result()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
