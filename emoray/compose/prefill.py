"""Prefill: the network's state after the seeds of many sequences.

Conventions
-----------
Seeds of different lengths end together: each first advances by what is more than a multiple of ``CHUNK``
notes, by itself, then with all others that have as many chunks left. Nothing is padded and no seed is cut
where its neighbours end, so a sequence's state has the same bits in any batch. The last ``LONGEST_CONTEXT``
notes of a seed count. Its last note is not read here: it is the input of the first decoding step.

Letters: **B** sequences, **m** notes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from emoray.dataset.bins import velocity_bins
from emoray.model.expressive import ExpressiveNetwork, NoteInputs, State
from emoray.notes import Floats, Notes, steps

LONGEST_CONTEXT = 1024
"""Notes at the end of a seed that the network reads: more of them change nothing in the state."""
CHUNK = 64
"""Notes that the network reads at once."""


def note_inputs(seed: Notes) -> Floats:
    """[m, 4] (pitch, step, duration, velocity bin) of a seed; its first step is 0."""
    return np.stack([seed["pitch"], steps(seed), seed["duration"], velocity_bins(seed["velocity"])], axis=1)


@torch.inference_mode()
def prefill(
    network: ExpressiveNetwork, seeds: Sequence[Notes], conditions: Sequence[NDArray[np.float32]]
) -> State:
    """The state [B] after all but the last note of each seed.

    Args:
        network: prepared.
        seeds: [m] notes each, m > 0, as the network reads them.
        conditions: [m - 1, A + G] the condition at each note that is read.
    """
    notes = [note_inputs(seed)[:-1] for seed in seeds]
    starting: dict[int, list[int]] = {}
    for index, read in enumerate(notes):
        starting.setdefault(len(read) // CHUNK, []).append(index)
    state, under_way = network.start(0), list[int]()
    for chunks_left in range(max(starting, default=0), -1, -1):
        rest = chunks_left * CHUNK  # notes left after this chunk
        if under_way:
            parts = [slice(len(notes[index]) - rest - CHUNK, len(notes[index]) - rest) for index in under_way]
            state = _advanced(network, notes, conditions, under_way, parts, state)
        by_length: dict[int, list[int]] = {}
        for index in starting.get(chunks_left, []):
            by_length.setdefault(len(notes[index]) - rest, []).append(index)
        for length, rows in by_length.items():
            begun = network.start(len(rows))
            if length:
                begun = _advanced(network, notes, conditions, rows, [slice(0, length)] * len(rows), begun)
            state, under_way = state.joined(begun), under_way + rows
    return state.rows(np.argsort(under_way).tolist())


def _advanced(
    network: ExpressiveNetwork,
    notes: Sequence[Floats],
    conditions: Sequence[NDArray[np.float32]],
    rows: list[int],
    parts: list[slice],
    state: State,
) -> State:
    """The state of some sequences after a part of each, all equally long."""
    device = network.heads.weight.device
    x = np.stack([notes[index][part] for index, part in zip(rows, parts, strict=True)])
    c = np.stack([conditions[index][part] for index, part in zip(rows, parts, strict=True)])
    part = torch.from_numpy(x).to(device)
    inputs = NoteInputs(part[..., 0].long(), part[..., 1].float(), part[..., 2].float(), part[..., 3].long())
    return network.prefill(inputs, torch.from_numpy(c).to(device), state)
