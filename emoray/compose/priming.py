"""Priming: the network's state after the seeds of many rows, and the shuffling of rows of a state.

Conventions
-----------
Seeds of different lengths end together: the longest begins alone, and others join when as many notes are left as
they have. Nothing is padded, so a row's state does not depend on its neighbours. The last ``HEARD`` notes of a seed
count. The last note itself is not taken in: it is the first that ``advance`` hears.

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
def primed(network: ExpressiveNetwork, seeds: Sequence[Notes], told: Sequence[NDArray[np.float32]]) -> State:
    """The state [B] after all but the last note of each seed.

    Args:
        network: in evaluation mode.
        seeds: [m] notes each, m > 0, as they are heard.
        told: [m - 1, A + G] the condition at each note that is taken in.
    """
    device = network.heads.weight.device
    notes = [heard_notes(seed)[:-1] for seed in seeds]
    order = sorted(range(len(seeds)), key=lambda index: -len(notes[index]))
    lengths = [len(notes[index]) for index in order]
    state = network.start(0)
    left = lengths[0] if lengths else 0
    while left > 0:
        rows = sum(length >= left for length in lengths)
        state = joined(state, network.start(rows - len(state.ring)))
        after = max([length for length in lengths if length < left] + [left - STRETCH, 0])
        chosen = [(notes[index], told[index]) for index in order[:rows]]
        x = np.stack([note[len(note) - left : len(note) - after] for note, _ in chosen])
        c = np.stack([said[len(said) - left : len(said) - after] for _, said in chosen])
        part = torch.from_numpy(x).to(device)
        heard = Heard(part[..., 0].long(), part[..., 1].float(), part[..., 2].float(), part[..., 3].long())
        _, state = network.listen(heard, torch.from_numpy(c).to(device), state)
        left = after
    state = joined(state, network.start(len(seeds) - len(state.ring)))
    return taken(state, np.argsort(order).tolist())


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
