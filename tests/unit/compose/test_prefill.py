import numpy as np
import torch

from emoray.compose.prefill import note_inputs, prefill
from emoray.config import ExpressivePreset
from emoray.dataset.bins import velocity_bins
from emoray.model.expressive import CONDITION_WIDTH, ExpressiveNetwork, NoteInputs
from emoray.notes import as_notes, steps


def network():
    torch.manual_seed(0)
    return ExpressiveNetwork(ExpressivePreset(embedding=16, hidden=32, head=8)).eval().prepared()


def tune(count):
    generator = np.random.default_rng(count)
    onset = np.cumsum(generator.uniform(0.05, 0.4, count))
    return as_notes(onset, generator.uniform(0.1, 0.6, count), generator.integers(40, 90, count),
                    generator.integers(40, 100, count))  # fmt: skip


def uncond(count):
    return np.zeros((count - 1, CONDITION_WIDTH), np.float32)


def flat(state):
    return [*(part[0] for layer in state.layers for part in layer), *state[1:]]


def test_seeds_of_all_lengths_are_prefilled_together_as_each_is_alone():
    net, lengths = network(), [1, 5, 130, 64, 65, 5, 2]
    together = prefill(net, [tune(count) for count in lengths], [uncond(count) for count in lengths])
    for index, count in enumerate(lengths):
        alone = prefill(net, [tune(count)], [uncond(count)])
        for one, many in zip(flat(alone), flat(together.rows([index])), strict=True):
            torch.testing.assert_close(one, many, rtol=0, atol=0)


def test_prefill_reads_all_but_the_last_note():
    net, seed = network(), tune(20)
    notes = seed[:-1]
    inputs = NoteInputs(*(torch.from_numpy(np.array(column))[None] for column in (
        notes["pitch"].astype(np.int64), steps(notes).astype(np.float32), notes["duration"],
        velocity_bins(notes["velocity"]),
    )))  # fmt: skip
    with torch.inference_mode():
        _, state = net.read(inputs, torch.zeros(1, 19, CONDITION_WIDTH), net.start(1))
    for one, other in zip(flat(state), flat(prefill(net, [seed], [uncond(20)])), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_seed_of_one_note_leaves_the_state_as_it_starts():
    net = network()
    state = prefill(net, [tune(1)], [uncond(1)])
    for one, other in zip(flat(state), flat(net.start(1)), strict=True):
        torch.testing.assert_close(one, other)


def test_sequences_that_are_taken_apart_and_joined_are_the_same():
    net = network()
    state = prefill(net, [tune(count) for count in (4, 9, 14)], [uncond(count) for count in (4, 9, 14)])
    again = state.rows([0]).joined(state.rows([1, 2]))
    for one, other in zip(flat(state), flat(again), strict=True):
        torch.testing.assert_close(one, other)


def test_the_first_step_that_the_network_reads_is_0():
    assert note_inputs(tune(5)[2:])[0, 1] == 0
