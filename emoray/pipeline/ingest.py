"""Ingest: a folder of MIDI to a corpus.

Each task opens a shard of files and writes its own part, by a temporary name and a rename, so a task that
runs twice writes the same file twice. Everything goes to a staging folder beside the target; only when all
parts are there does it get ``_SUCCESS.json`` and the target's name. Opening files inside the task, rather
than letting Ray list them, keeps a row for a file that is missing or broken.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from emoray.dataset import corpus
from emoray.dataset.corpus import CorpusSummary
from emoray.errors import CorpusError
from emoray.pipeline.corpus_tasks import on_each
from emoray.pipeline.metrics import record
from emoray.progress import Meter
from emoray.readers.annotations import PieceMetadata, read_metadata

SHARD_FILES, MOST_SHARD_FILES = 64, 512
"""Files in one task and in one part, at least and at most: a large part fills a worker's memory."""
TASKS = 256
"""Parts grow before there are more tasks: the driver keeps 46 KB of each."""
_URI = re.compile(r"(s3|gs|gcs|file):/")
PART_SUMMARY = pa.schema([("summary", pa.string()), ("problem", pa.string())])
"""What a task returns to the driver: what is in its part, or why it could not be written."""


def ingest(
    folder: Path,
    out: Path,
    *,
    metadata: Path | None = None,
    overwrite: bool = False,
    only_listed: bool = False,
    before: Callable[[int], object] | None = None,
) -> CorpusSummary:
    """Read all MIDI under ``folder`` into a corpus at ``out``.

    Args:
        folder: searched with all its folders.
        out: made as a whole or not at all.
        metadata: see ``read_metadata``.
        overwrite: replace a corpus that is there.
        only_listed: leave out what the metadata does not name.
        before: called with the number of files before any is read, to get ready for so many.

    Raises:
        CorpusError: nothing to read, nowhere to write, or ``out`` is there and ``overwrite`` is not set.
    """
    _refuse_uris(folder, out)
    known = read_metadata(metadata) if metadata else {}
    files = list_files(folder, known, only_listed=only_listed)
    if out.exists() and not overwrite:
        raise CorpusError(out, "exists already; choose another folder or pass --overwrite")
    if before is not None:
        before(len(files))
    staging = out.with_name(f"{out.name}.staging-{uuid.uuid4().hex[:8]}")
    old, rest = (staging.with_name(f"{staging.name}-{name}") for name in ("old", "rest"))
    try:
        staging.mkdir(parents=True)
        summary = _write_parts(files, folder.resolve(), staging.resolve())
        (staging / corpus.SUCCESS).write_text(json.dumps(dataclasses.asdict(summary), indent=2) + "\n")
        _publish(staging, out, old)
    except OSError as err:
        raise CorpusError(
            out, f"cannot be written ({err.strerror or err}); free space or choose another"
        ) from err
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        if staging.exists():
            staging.rename(rest)  # so that tasks that were interrupted add nothing more to it
        for folder in (rest, old):
            shutil.rmtree(folder, ignore_errors=True)
    return summary


def list_files(folder: Path, known: dict[str, PieceMetadata], *, only_listed: bool = False) -> pa.Table:
    """Every MIDI file under ``folder`` and every one that the metadata names: rows of ``corpus.FILES``.

    With ``only_listed``, files that it does not name are left out.

    Raises:
        CorpusError: there is none, or the folder is not one.
    """
    if not folder.is_dir():
        raise CorpusError(folder, "is not a folder; give the folder that holds the MIDI files")
    found = {
        (inside / name).as_posix()
        for inside, names in _walked(folder)
        for name in names
        if Path(name).suffix.lower() in (".mid", ".midi") and (folder / inside / name).is_file()
    }
    if not found:
        raise CorpusError(folder, "holds no .mid or .midi files; give the folder that does")
    named = sorted(known.keys() if only_listed else found | known.keys())
    some = (named[first : first + SHARD_FILES] for first in range(0, len(named), SHARD_FILES))
    return pa.concat_tables(_named(few, known) for few in some)  # dicts of them all would be large


def _walked(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder below, from there, with its files. ``Path.rglob`` remembers every path that it gave."""
    for inside, _, names in os.walk(folder):
        yield Path(inside).relative_to(folder), names


def _named(paths: Sequence[str], known: dict[str, PieceMetadata]) -> pa.Table:
    rows = [{"path": path} | dataclasses.asdict(known.get(path, PieceMetadata())) for path in paths]
    return pa.Table.from_pylist(rows, corpus.FILES)


def _refuse_uris(*folders: Path) -> None:
    for folder in folders:
        if _URI.match(str(folder)):
            raise CorpusError(
                folder, "is a URI; give a folder that every node sees, a corpus is read from there"
            )


def _write_parts(files: pa.Table, root: Path, staging: Path) -> CorpusSummary:
    size = shard_files(len(files))
    shards = [files.slice(first, size) for first in range(0, len(files), size)]
    numbered = [
        shard.append_column("part", pa.array([number] * len(shard), pa.int32()))
        for number, shard in enumerate(shards)
    ]
    summaries = []
    with Meter("ingest", len(files), "files") as meter:
        for returned in on_each(numbered, write_part, root=root, staging=staging):
            for row in returned.to_pylist():
                if row["problem"] is not None:
                    raise OSError(None, row["problem"])  # as if it had happened here
                summaries.append(CorpusSummary(**json.loads(row["summary"])))
                meter.advance(summaries[-1].rows)
    return corpus.added(iter(summaries))


def shard_files(files: int) -> int:
    """How many files of so many make a task.

    >>> [shard_files(files) for files in (1_000, 100_000, 1_000_000)]
    [64, 391, 512]
    """
    return min(max(SHARD_FILES, math.ceil(files / TASKS)), MOST_SHARD_FILES)


def write_part(shard: pa.Table, root: Path, staging: Path) -> pa.Table:
    """Open the files of a shard, write its part, and return what is in it: runs in a worker."""
    number = shard["part"][0].as_py()
    table = corpus.rows(shard.drop_columns(["part"]), root)
    row: dict[str, str | None] = {"summary": None, "problem": None}
    try:
        temporary = staging / f"{uuid.uuid4().hex}.tmp"
        corpus.write_part(table, temporary)
        temporary.rename(staging / f"part-{number:06d}.parquet")
        summary = corpus.summarise(table)
        row["summary"] = json.dumps(dataclasses.asdict(summary))
        record_files(summary)
    except OSError as err:
        row["problem"] = os.strerror(err.errno) if err.errno else str(err)
    return pa.Table.from_pylist([row], PART_SUMMARY)


def record_files(part: CorpusSummary) -> None:
    """The figures of a part that is written."""
    record("emoray_ingest_files_total", part.rows - part.errors, status="ok")
    record("emoray_ingest_files_total", part.errors, status="failed")
    record("emoray_ingest_notes_total", part.notes)


def _publish(staging: Path, out: Path, old: Path) -> None:
    """Give the staged folder its name; an old corpus goes only once the new one is complete."""
    if out.exists():
        out.rename(old)
    staging.rename(out)
    shutil.rmtree(old, ignore_errors=True)
