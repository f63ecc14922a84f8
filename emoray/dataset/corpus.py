"""Corpus: a collection of pieces as a folder of Parquet, one row a piece.

Conventions
-----------
Files in = rows out: a bad or missing file is a row with its reason in ``error`` and empty notes. The
schema is explicit, so a shard of rejects reads like any other. A corpus is finished when it holds
``_SUCCESS.json``; nothing reads one that does not.

``duration`` is key-down time; ``sounding`` is how long the same note is heard with the sustain pedal applied.
A reader chooses one of them to be the duration of its note arrays.

A piece's id is a hash of its bytes, and so is its split where the collection brings none: it never moves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emoray.config import CORPUS_VERSION
from emoray.errors import CorpusError, MidiError
from emoray.notes import FIELDS, NOTE, Notes
from emoray.readers.midi import read_performance

SCHEMA = pa.schema(
    [
        ("piece_id", pa.string()),
        ("path", pa.string()),
        ("split", pa.string()),
        ("composer", pa.string()),
        ("title", pa.string()),
        ("year", pa.int32()),
        ("error", pa.string()),
        ("onset", pa.list_(pa.float64())),
        ("duration", pa.list_(pa.float32())),
        ("pitch", pa.list_(pa.uint8())),
        ("velocity", pa.list_(pa.uint8())),
        ("sounding", pa.list_(pa.float32())),
    ]
)
FILES = pa.schema(
    [(name, SCHEMA.field(name).type) for name in ("path", "split", "composer", "title", "year")]
)
"""What is known of a file before it is opened; ``path`` is relative to the collection."""
SUCCESS = "_SUCCESS.json"


@dataclass(frozen=True, kw_only=True)
class CorpusSummary:
    """What ``_SUCCESS.json`` says."""

    rows: int
    errors: int
    notes: int
    splits: dict[str, int] = field(default_factory=dict)
    """Good pieces in each split."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why files are bad, and how many."""
    version: int = CORPUS_VERSION


def row(root: Path, file: dict[str, Any]) -> dict[str, Any]:
    """One file to one row of ``SCHEMA``. A bad or missing file is a row with its reason: none vanishes."""
    data, error = b"", None
    notes = sounding = np.empty(0, NOTE)
    try:
        data = (root / file["path"]).read_bytes()
        notes, sounding = read_performance(data, subject=file["path"])
    except OSError as err:
        error = f"{file['path']}: {err.strerror or err}; check that the file is there and may be read"
    except MidiError as err:
        error = str(err)
    piece_id = hashlib.blake2b(data, digest_size=8).hexdigest() if data else None
    split = file["split"] or (split_of(piece_id) if piece_id else None)
    columns = {name: notes[name] for name in FIELDS} | {"sounding": sounding["duration"]}
    return file | {"piece_id": piece_id, "split": split, "error": error} | columns


def rows(files: pa.Table, root: Path) -> pa.Table:
    """Files (``FILES``) to rows of ``SCHEMA``: every shard alike, even one of rejects only."""
    found = [row(root, file) for file in files.to_pylist()]
    return pa.Table.from_arrays([_column(found, field) for field in SCHEMA], schema=SCHEMA)


def _column(found: list[dict[str, Any]], field: pa.Field) -> pa.Array:
    """One column of rows; lists from arrays as they are."""
    values = [one[field.name] for one in found]
    if not pa.types.is_list(field.type):
        return pa.array(values, field.type)
    offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
    flat = np.concatenate(values or [np.empty(0)])
    return pa.ListArray.from_arrays(offsets, pa.array(flat, field.type.value_type), type=field.type)


def write_part(table: pa.Table, file: Path) -> None:
    """Rows of ``SCHEMA`` to a Parquet file; times by their bytes, which compress better apart."""
    times = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in ("onset", "duration", "sounding")}
    pq.write_table(table, file, compression="zstd", use_dictionary=False, column_encoding=times)


def split_of(piece_id: str) -> str:
    """80 % train, 10 % validation, 10 % test, by the hash."""
    place = int(piece_id, 16) % 10
    return {8: "validation", 9: "test"}.get(place, "train")


def summarise(table: pa.Table) -> CorpusSummary:
    """Counts over rows of ``SCHEMA``."""
    splits: dict[str, int] = {}
    reasons: dict[str, int] = {}
    for split, error in zip(table["split"].to_pylist(), table["error"].to_pylist(), strict=True):
        counts, key = (splits, split) if error is None else (reasons, _kind(error))
        counts[key] = counts.get(key, 0) + 1
    lengths = pc.list_value_length(table["onset"])
    return CorpusSummary(
        rows=len(table),
        errors=sum(reasons.values()),
        notes=int(pc.sum(lengths).as_py() or 0),
        splits=splits,
        reasons=reasons,
    )


def added(summaries: Iterator[CorpusSummary]) -> CorpusSummary:
    """The sum of summaries, with reasons from the most frequent one down."""
    total, splits, reasons = {"rows": 0, "errors": 0, "notes": 0}, dict[str, int](), dict[str, int]()
    for summary in summaries:
        for name in total:
            total[name] += getattr(summary, name)
        for counts, more in ((splits, summary.splits), (reasons, summary.reasons)):
            for key, count in more.items():
                counts[key] = counts.get(key, 0) + count
    ordered = dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
    return CorpusSummary(**total, splits=dict(sorted(splits.items())), reasons=ordered)


def open_corpus(folder: Path) -> CorpusSummary:
    """Check that a folder is a finished corpus.

    Raises:
        CorpusError: it is not, or of another version.
    """
    try:
        fields = json.loads((folder / SUCCESS).read_text())
        if fields["version"] != CORPUS_VERSION:
            raise CorpusError(
                folder, f"has version {fields['version']}, not {CORPUS_VERSION}; ingest it again"
            )
        return CorpusSummary(**fields)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise CorpusError(
            folder, f"is not a finished corpus ({SUCCESS}: {err}); run `emoray ingest`"
        ) from err


def parts(folder: Path) -> list[Path]:
    """The Parquet files of a corpus, in order."""
    return sorted(folder.glob("part-*.parquet"))


def piece_lengths(folder: Path, split: str) -> NDArray[np.int64]:
    """[pieces] notes of each good piece of a split, without reading the notes."""
    lengths = [np.empty(0, np.int64)]
    for part in parts(folder):
        table = pq.read_table(part, columns=["split", "error", "pitch"])
        notes = pc.list_value_length(table["pitch"]).to_numpy()
        good = pc.and_(pc.equal(table["split"], split), pc.is_null(table["error"])).fill_null(False)
        lengths.append(notes[good.to_numpy()])
    return np.concatenate(lengths)


def read_pieces(
    folder: Path, split: str | None = None, *, sounding: bool = False
) -> Iterator[tuple[dict[str, Any], Notes]]:
    """Good pieces of a corpus, in order: (metadata, notes); ``split`` None is all of them."""
    open_corpus(folder)
    for part in parts(folder):
        yield from pieces_of(pq.read_table(part), split, sounding=sounding)


def pieces_of(
    table: pa.Table, split: str | None = None, *, sounding: bool = False
) -> Iterator[tuple[dict[str, Any], Notes]]:
    """Good pieces among rows of ``SCHEMA``: (metadata, notes), with key-down or ``sounding`` durations."""
    names = dict(zip(FIELDS, FIELDS, strict=True)) | ({"duration": "sounding"} if sounding else {})
    columns = {name: table[column].combine_chunks() for name, column in names.items()}
    metadata = table.drop_columns([*FIELDS, "sounding"]).to_pylist()
    for index, record in enumerate(metadata):
        if record["error"] is None and split in (None, record["split"]):
            notes = np.empty(len(columns["onset"][index]), NOTE)
            for name in FIELDS:
                notes[name] = columns[name][index].values.to_numpy(zero_copy_only=False)
            yield record, notes


def _kind(error: str) -> str:
    """The reason in a row's error without its subject and remedy, to be counted."""
    return error.split(": ", 1)[-1].split("; ", 1)[0].split(" (", 1)[0]
