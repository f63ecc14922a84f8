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
import ray.data

from emoray.dataset import corpus


def over_parts(folder: Path, work: Callable[..., pa.Table], **options: Any) -> ray.data.Dataset:
    """``work(rows of the corpus, **options)`` for each part of a corpus, which must be on shared storage.

    Returns:
        What work returned, with the column ``part`` (its number) added.
    """
    tasks = [
        pa.table({"part": pa.array([number], pa.int32()), "path": [str(part.resolve())]})
        for number, part in enumerate(corpus.parts(folder))
    ]
    return ray.data.from_arrow(tasks).map_batches(
        on_part, batch_size=None, batch_format="pyarrow", fn_kwargs={"work": work, "options": options}
    )


def on_part(task: pa.Table, work: Callable[..., pa.Table], options: dict[str, Any]) -> pa.Table:
    """Read one part and work on it: runs in a worker."""
    [number], [path] = task["part"].to_pylist(), task["path"].to_pylist()
    result = work(pq.read_table(path, schema=corpus.SCHEMA), **options)
    return result.append_column("part", pa.array([number] * len(result), pa.int32()))
