"""Parts: work on a corpus, one task for each of its parts, by Ray Data.

Reading inside the task, rather than letting Ray plan the reads, gives every CPU work and progress its steps:
Ray would read a small corpus in one or two tasks. Results come in any order; ``part`` says whose they are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from emoray.dataset import corpus


def over_parts(
    folder: Path, work: Callable[..., pa.Table], *, repeatable: bool = False, **options: Any
) -> ray.data.Dataset:
    """``work(rows of the corpus, **options)`` for each part of a corpus, which must be on shared storage.

    Args:
        folder: the corpus.
        work: runs in a worker.
        repeatable: the results outlive this call, and some may be lost with a node: tasks ask for no CPU, so
            that Ray can repeat them while others hold all CPUs.
        options: of ``work``.

    Returns:
        What work returned, with the column ``part`` (its number) added.
    """
    tasks = [
        pa.table({"part": pa.array([number], pa.int32()), "path": [str(part.resolve())]})
        for number, part in enumerate(corpus.parts(folder))
    ]
    cpus = max(1, int(ray.cluster_resources().get("CPU", 0)))
    return ray.data.from_arrow(tasks).map_batches(
        on_part,
        batch_size=None,
        batch_format="pyarrow",
        fn_kwargs={"work": work, "options": options},
        compute=ray.data.TaskPoolStrategy(size=cpus if repeatable else None),
        num_cpus=0 if repeatable else 1,
    )


def on_part(task: pa.Table, work: Callable[..., pa.Table], options: dict[str, Any]) -> pa.Table:
    """Read one part and work on it: runs in a worker."""
    [number], [path] = task["part"].to_pylist(), task["path"].to_pylist()
    result = work(pq.read_table(path, schema=corpus.SCHEMA), **options)
    return result.append_column("part", pa.array([number] * len(result), pa.int32()))
