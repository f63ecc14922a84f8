import numpy as np
import pytest
import torch

from emoray.config import ExpressivePreset
from emoray.dataset.bins import DURATION_BINS, DURATION_EDGES, STEP_BINS, STEP_EDGES, VELOCITY_BINS, bins_of
from emoray.model.expressive import (
    CONDITION_WIDTH,
    DECAY_TIMES,
    LONG_AGO,
    Decided,
    ExpressiveNetwork,
    NoteInputs,
)

PRESET = ExpressivePreset(embedding=16, hidden=16, head=16, chunk=8, span=32)
B, T = 3, 24


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ExpressiveNetwork(PRESET).eval()


def music(random_seed=0):
    """(inputs, condition, following) of B rows of T notes and the note after each."""
    generator = torch.Generator().manual_seed(random_seed)

    def times():
        return torch.rand(B, T + 1, generator=generator) ** 2

    def numbers(high):
        return torch.randint(0, high, (B, T + 1), generator=generator)

    pitch, step, duration, velocity = 40 + numbers(20), times(), 0.01 + times(), numbers(VELOCITY_BINS)
    inputs = NoteInputs(pitch[:, :-1], step[:, :-1], duration[:, :-1], velocity[:, :-1])
    following = Decided(step[:, 1:], pitch[:, 1:], duration[:, 1:])
    return inputs, torch.randn(B, T, CONDITION_WIDTH, generator=generator), following


def part(things, places):
    return type(things)(*(column[:, places] for column in things))


def test_each_head_has_a_logit_for_each_of_its_classes(network):
    inputs, condition, following = music()
    shapes = [out.shape[-1] for out in network(inputs, condition, network.start(B), following)[:4]]
    assert shapes == [STEP_BINS, 128, DURATION_BINS, VELOCITY_BINS]


def test_a_carried_state_in_chunks_is_one_long_pass(network):
    inputs, condition, following = music()
    whole = network(inputs, condition, network.start(B), following)
    state, chunks = network.start(B), []
    for first in (0, 7, 8):
        places = slice(first, {0: 7, 7: 8, 8: T}[first])
        chunks.append(network(part(inputs, places), condition[:, places], state, part(following, places))[:4])
        state = network.read(part(inputs, places), condition[:, places], state)[1]
    for index in range(4):
        pieced = torch.cat([chunk[index] for chunk in chunks], dim=1)
        torch.testing.assert_close(pieced, whole[index], atol=1e-5, rtol=0)
    end = network.read(inputs, condition, network.start(B))[1]
    torch.testing.assert_close(state.ages, end.ages, atol=1e-5, rtol=0)
    torch.testing.assert_close(state.sounding_remaining, end.sounding_remaining, atol=1e-5, rtol=0)


def test_ages_and_ring_are_as_a_loop_counts_them(network):
    inputs, condition, _ = music()
    state = network.read(inputs, condition, network.start(B))[1]
    context = network.read(inputs, condition, network.start(B))[0]
    for row in range(B):
        now, struck, silent = 0.0, {}, 0.0
        for place in range(T):
            now += float(inputs.step[row, place])
            struck[int(inputs.pitch[row, place])] = now
            silent = max(silent, now + float(inputs.duration[row, place]))
            assert float(context.sounding_remaining[row, place]) == pytest.approx(
                max(0.0, silent - now), abs=1e-5
            )
        ages = [min(now - struck[pitch], LONG_AGO) if pitch in struck else LONG_AGO for pitch in range(128)]
        np.testing.assert_allclose(state.ages[row], ages, atol=1e-5)


def test_the_trace_of_an_onset_decays_at_its_three_rates(network):
    inputs = NoteInputs(
        torch.tensor([[60, 62]]),
        torch.tensor([[0.0, 0.5]]),
        torch.ones(1, 2),
        torch.zeros(1, 2, dtype=torch.long),
    )
    decayed, _ = network._decayed_onsets(inputs, network.start(1))
    decayed = decayed.reshape(2, 3, 128)
    np.testing.assert_allclose(decayed[1, :, 60], np.exp(-0.5 / np.array(DECAY_TIMES)), atol=1e-6)
    np.testing.assert_allclose(decayed[1, :, 62], 1.0)
    np.testing.assert_allclose(decayed[1, :, 64], np.exp(-LONG_AGO / np.array(DECAY_TIMES)), atol=1e-6)


def test_a_prediction_does_not_see_the_future(network):
    """Another note, condition or following, from place 12 on: everything before it is as it was."""
    inputs, condition, following = music()
    other_inputs, other_condition, other_following = music(1)
    now = torch.arange(T) < 12

    def before(one, other):
        return type(one)(*(torch.where(now, a, b) for a, b in zip(one, other, strict=True)))

    one = network(inputs, condition, network.start(B), following)[:4]
    mixed = torch.where(now[:, None], condition, other_condition)
    other = network(
        before(inputs, other_inputs), mixed, network.start(B), before(following, other_following)
    )[:4]
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a[:, :12], b[:, :12], atol=1e-6, rtol=0)
        assert not torch.allclose(a[:, 12:], b[:, 12:])


@pytest.mark.parametrize(("changed", "deaf"), [("step", 1), ("pitch", 2), ("duration", 3)])
def test_a_head_hears_what_was_decided_before_it_and_nothing_later(network, changed, deaf):
    """Order: step, pitch, duration, velocity; the first ``deaf`` heads must not hear the change."""
    inputs, condition, following = music()
    other = following._replace(**{changed: getattr(music(1)[2], changed)})
    one, two = (network(inputs, condition, network.start(B), decided)[:4] for decided in (following, other))
    equal = [torch.equal(a, b) for a, b in zip(one, two, strict=True)]
    assert equal == [head < deaf for head in range(4)]


def test_bins_are_those_of_the_data(network):
    seconds = np.concatenate([STEP_EDGES, np.random.default_rng(0).exponential(0.5, 500).round(3), [30.0]])
    for table, edges in ((network.step_bin, STEP_EDGES), (network.duration_bin, DURATION_EDGES)):
        ours = table(torch.from_numpy(seconds).float())
        np.testing.assert_array_equal(ours, bins_of(seconds, edges))


def test_one_note_at_a_time_in_any_batch_has_the_same_bits(network):
    inputs, condition, _ = music()

    def played(rows):
        """The logits of steps after each of T notes, read one by one."""
        state, logits = network.start(len(rows)), []
        for place in range(T):
            one = NoteInputs(*(column[rows, place : place + 1] for column in inputs))
            one_condition = condition[rows, place : place + 1]
            context, state = network.read(one, one_condition, state)
            logits.append(network.step_logits(context, network.head_condition(one_condition)))
        return torch.cat(logits, dim=1)

    network.prepared()
    with torch.inference_mode():
        together = played([0, 1, 2])
        for row in range(B):
            assert torch.equal(played([row])[0], together[row])
