"""Priming: the network's state after the seeds of many rows, and the shuffling of rows of a state.

Conventions
-----------
Seeds of different lengths end together: each takes in what is more than a multiple of ``STRETCH`` by itself,
then goes on with those that have as many stretches left. Nothing is padded and no seed is cut where its
neighbours end, so a row's state has the same bits in any company. The last ``HEARD`` notes of a seed count.
The last note itself is not taken in: it is the first that ``advance`` hears.

Letters: **B** rows, **m** notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from emoray.dataset.bins import velocity_bins
from emoray.model.expressive import ExpressiveNetwork, Heard, State
from emoray.notes import Notes, steps

HEARD = 1024
"""Notes at the end of a seed that are heard: longer ones add nothing to the state."""
STRETCH = 64
"""Notes taken in at once."""


def heard_notes(seed: Notes) -> NDArray[np.float64]:
    """[m, 4] (pitch, step, duration, velocity bin) of a seed; its first step is 0."""
    return np.stack([seed["pitch"], steps(seed), seed["duration"], velocity_bins(seed["velocity"])], axis=1)


@torch.inference_mode()
def prefilled(
    network: ExpressiveNetwork, seeds: Sequence[Notes], told: Sequence[NDArray[np.float32]]
) -> State:
    """The state [B] after all but the last note of each seed.

    Args:
        network: prepared.
        seeds: [m] notes each, m > 0, as they are heard.
        told: [m - 1, A + G] the condition at each note that is taken in.
    """
    notes = [heard_notes(seed)[:-1] for seed in seeds]
    entering: dict[int, list[int]] = {}
    for index, heard in enumerate(notes):
        entering.setdefault(len(heard) // STRETCH, []).append(index)
    state, inside = network.start(0), list[int]()
    for stretch in range(max(entering, default=0), -1, -1):
        rest = stretch * STRETCH  # notes left after this stretch
        if inside:
            parts = [slice(len(notes[index]) - rest - STRETCH, len(notes[index]) - rest) for index in inside]
            state = _listened(network, notes, told, inside, parts, state)
        by_length: dict[int, list[int]] = {}
        for index in entering.get(stretch, []):
            by_length.setdefault(len(notes[index]) - rest, []).append(index)
        for length, rows in by_length.items():
            begun = network.start(len(rows))
            if length:
                begun = _listened(network, notes, told, rows, [slice(0, length)] * len(rows), begun)
            state, inside = joined(state, begun), inside + rows
    return taken(state, np.argsort(inside).tolist())


def _listened(
    network: ExpressiveNetwork,
    notes: Sequence[NDArray[np.float64]],
    told: Sequence[NDArray[np.float32]],
    rows: list[int],
    parts: list[slice],
    state: State,
) -> State:
    """The state of some rows after a part of each, all equally long."""
    device = network.heads.weight.device
    x = np.stack([notes[index][part] for index, part in zip(rows, parts, strict=True)])
    c = np.stack([told[index][part] for index, part in zip(rows, parts, strict=True)])
    part = torch.from_numpy(x).to(device)
    heard = Heard(part[..., 0].long(), part[..., 1].float(), part[..., 2].float(), part[..., 3].long())
    return network.prefilled(heard, torch.from_numpy(c).to(device), state)


def taken(state: State, rows: Iterable[int]) -> State:
    """Some rows of a state, in the order asked for."""
    index = torch.tensor(list(rows), dtype=torch.long, device=state.ring.device)
    layers = tuple((h[:, index], c[:, index]) for h, c in state.layers)
    return State(layers, state.ages[index], state.ring[index], state.pitch[index])


def joined(first: State, second: State) -> State:
    """The rows of both."""
    layers = tuple(
        (torch.cat([h, h2], dim=1), torch.cat([c, c2], dim=1))
        for (h, c), (h2, c2) in zip(first.layers, second.layers, strict=True)
    )
    parts = (torch.cat([one, two]) for one, two in zip(first[1:], second[1:], strict=True))
    return State(layers, *parts)
