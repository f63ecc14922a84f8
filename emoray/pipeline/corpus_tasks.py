"""Parts: the same work on each of many tables, by Ray Data where Ray has been started, else in this process.

Small work is done here before Ray would have started. A task opens its files itself, rather than letting Ray
plan the reads: that gives every CPU work and progress its steps, where Ray would read a small corpus in one
or two tasks, and keeps a row for a file that cannot be read. Results come in any order; of the parts of a
corpus, the column ``part`` says whose they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from emoray.dataset import corpus
from emoray.pipeline.metrics import under_ray
from emoray.pipeline.resources import report_waits

TableTask = Callable[..., pa.Table]
"""Table to table; what runs in a worker."""


def on_each(tables: list[pa.Table], work: TableTask, /, **options: Any) -> Iterator[pa.Table]:
    """``work(table, **options)`` of each table, in any order."""
    if under_ray():
        import ray.data

        dataset = ray.data.from_blocks(tables).map_batches(
            work, batch_size=None, batch_format="pyarrow", fn_kwargs=options
        )
        with report_waits("ray data", {"CPU": 1.0}):
            yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # writing and multiplying let others run
            yield from pool.map(partial(work, **options), tables)


def on_parts(folder: Path, work: TableTask, /, **options: Any) -> Iterator[pa.Table]:
    """``work(rows of the corpus, **options)`` for each part of a corpus, which every node must see.

    Returns:
        What work returned, with the column ``part`` (its number) added.
    """
    tasks = [
        pa.table({"part": pa.array([number], pa.int32()), "path": [str(part.resolve())]})
        for number, part in enumerate(corpus.parts(folder))
    ]
    return on_each(tasks, on_part, work=work, options=options)


def on_part(task: pa.Table, work: TableTask, options: dict[str, Any]) -> pa.Table:
    """Read one part and work on it: runs in a worker."""
    [number], [path] = task["part"].to_pylist(), task["path"].to_pylist()
    result = work(pq.read_table(path, schema=corpus.SCHEMA), **options)
    return result.append_column("part", pa.array([number] * len(result), pa.int32()))
