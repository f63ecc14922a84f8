"""Cluster: a corpus to emotion clusters; features part by part, scikit-learn fits on the driver.

Only the training split is clustered, so that nothing later is judged on what it was fitted to. The driver
holds nine numbers a window: eight megabytes for all of MAESTRO.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emoray.config import BaselinePreset
from emoray.dataset import corpus
from emoray.dataset.clusters import (
    FEATURES,
    Durations,
    EmotionClusters,
    LabelledPiece,
    fit_clusters,
    window_features,
)
from emoray.errors import CorpusError, EmorayError
from emoray.pipeline.corpus_tasks import on_parts
from emoray.pipeline.metrics import record
from emoray.progress import Meter
from emoray.readers.annotations import Label
from emoray.readers.midi import read_performance

WINDOW = BaselinePreset().window + 1
"""Notes in a window: the context of composing and one candidate."""
FEATURE_SCHEMA = pa.schema([(name, pa.float32()) for name in FEATURES] + [("pieces", pa.int32())])


def cluster_corpus(
    folder: Path,
    labels: Sequence[Label] = (),
    *,
    durations: Durations,
    window: int = WINDOW,
    random_seed: int = 0,
) -> tuple[EmotionClusters, NDArray[np.float32]]:
    """Fit emotion clusters to the training split of a corpus, on the durations that a network reads.

    Returns:
        The clusters, and the features [W, 9] that they were fitted to.

    Raises:
        CorpusError: it is not a corpus, has nothing to fit to, or a labelled file cannot be read.
    """
    features = corpus_features(folder, window, durations)
    return fit_clusters(
        features,
        window=window,
        durations=durations,
        labelled=labelled_pieces(labels, window, durations),
        random_seed=random_seed,
    ), features


def corpus_features(folder: Path, window: int, durations: Durations) -> NDArray[np.float32]:
    """[W, 9] features of the windows of all training pieces, in the order of the corpus."""
    summary = corpus.open_corpus(folder)
    if not summary.splits.get("train"):
        raise CorpusError(
            folder, "has no training pieces; ingest more files or check the splits in the metadata"
        )
    blocks = []
    with Meter("features", summary.splits["train"], "pieces") as meter:
        for block in on_parts(folder, features_of, window=window, sounding=durations == "sounding"):
            blocks.append(np.stack([block[name].to_numpy() for name in FEATURES], axis=1))
            meter.advance(pc.sum(block["pieces"]).as_py() or 0)
    features = np.concatenate(blocks)
    return features[np.lexsort(features.T)]  # blocks arrive in any order; k-means should not notice


def features_of(table: pa.Table, window: int, *, sounding: bool) -> pa.Table:
    """Rows of a corpus to rows of features; ``pieces`` is 1 in the first row of a piece: runs in a worker."""
    rows = [
        window_features(notes, window) for _, notes in corpus.pieces_of(table, "train", sounding=sounding)
    ]
    features = np.concatenate([np.empty((0, len(FEATURES)), np.float32), *rows])
    record("emoray_cluster_windows_total", len(features))
    first = np.zeros(len(features), np.int32)
    first[np.cumsum([0, *map(len, rows)])[:-1]] = 1
    return pa.Table.from_arrays([*features.T, first], schema=FEATURE_SCHEMA)


def labelled_pieces(labels: Sequence[Label], window: int, durations: Durations) -> list[LabelledPiece]:
    """The windows of labelled files.

    Raises:
        CorpusError: a file cannot be read: half of the labels would be worse than none.
    """
    pieces = []
    for label in labels:
        try:
            key_down, sounding = read_performance(label.path.read_bytes(), subject=label.path)
        except (OSError, EmorayError) as err:
            raise CorpusError(
                label.path, f"is labelled but cannot be read ({err}); take its row out"
            ) from err
        features = window_features(sounding if durations == "sounding" else key_down, window)
        pieces.append(LabelledPiece(features=features, valence=label.valence, arousal=label.arousal))
    return pieces
