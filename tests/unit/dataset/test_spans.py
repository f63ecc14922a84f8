from dataclasses import replace

import numpy as np
import pytest

from emoray.config import ExpressivePreset
from emoray.dataset.attributes import GROUPS, N_ATTRIBUTES, attributes_ahead
from emoray.dataset.spans import Spans, beginnings, condition_groups, condition_of, stacked, training_spans
from emoray.notes import HIGHEST_KEY, LOWEST_KEY, as_notes

PRESET = ExpressivePreset(chunk=8, span=32, lookahead=8)
STILL = replace(PRESET, transpose=0, stretch=0.0, loudness=0)
ALL, NONE = np.full(len(GROUPS), True), np.full(len(GROUPS), False)
FIELDS = ("pitch", "step", "duration", "velocity", "condition", "mask")


def piece(count, pitch=60, step=0.25):
    return as_notes(np.arange(count) * step, [step] * count, [pitch] * count, [80] * count)


def same(one: Spans, other: Spans):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def test_a_span_never_crosses_pieces():
    """Each piece has one pitch of its own, so a span with two pitches would be a span of two pieces."""
    pieces = [piece(20 + number, pitch=40 + number) for number in range(10)]
    for spans in training_spans(pieces, STILL, 64, 8, (0,)):
        for row, known in zip(spans.pitch, spans.mask, strict=True):
            real = row[: known.sum() + 1]
            assert len(set(real.tolist())) == 1
            assert len(real) <= 20 + real[0] - 40


def test_places_past_the_end_are_not_known_and_a_rows_first_step_is_zero():
    spans = stacked([piece(5), piece(11)], PRESET, [ALL, ALL])
    assert spans.pitch.shape == (2, 17)  # ten places, in chunks of eight
    assert spans.mask.sum(axis=1).tolist() == [4, 10]
    assert spans.step[:, 0].tolist() == [0, 0]
    assert spans.step[0, :6].tolist() == [0, 0.25, 0.25, 0.25, 0.25, 0]
    assert not spans.condition[0, 4:].any()


def test_more_room_is_as_if_a_longer_row_had_been_there():
    alone, beside = stacked([piece(5)], PRESET, [ALL]), stacked([piece(5), piece(20)], PRESET, [ALL, ALL])
    padded = alone.padded(24)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(padded, name), getattr(beside, name)[:1])
    assert alone.padded(8) is alone


def test_chunks_bring_the_note_after_their_last_and_lose_none():
    spans = stacked([piece(30), piece(12)], PRESET, [ALL, NONE])
    chunks = list(spans.chunks(8))
    assert [chunk.pitch.shape for chunk in chunks] == [(2, 9)] * 4
    assert all(chunk.condition.shape == (2, 8, N_ATTRIBUTES + len(GROUPS)) for chunk in chunks)
    np.testing.assert_array_equal(
        np.concatenate([chunk.step[:, 1:] for chunk in chunks], 1), spans.step[:, 1:]
    )
    assert sum(chunk.mask.sum() for chunk in chunks) == 29 + 11


def test_what_an_epoch_reads_depends_on_its_key_alone():
    pieces = [piece(50), piece(70, pitch=72)]
    one, again, other = (
        list(training_spans(pieces, PRESET, 8, 4, key)) for key in ((1, 2, 0), (1, 2, 0), (1, 2, 1))
    )
    assert all(same(a, b) for a, b in zip(one, again, strict=True))
    assert not all(same(a, b) for a, b in zip(one, other, strict=True))


def test_a_place_is_told_the_attributes_of_the_notes_that_follow_it():
    notes = piece(40)
    notes["pitch"] = 40 + np.arange(40)
    spans = stacked([notes[: 33 + 8]], PRESET, [ALL])
    ahead = attributes_ahead(notes, 8)
    np.testing.assert_allclose(spans.condition[0, :32, :N_ATTRIBUTES], ahead[1:33], atol=1e-6)


def test_a_withheld_group_is_zeros_and_says_so():
    groups = np.array([False, True, True, True, False])
    found = condition_of(np.ones((3, N_ATTRIBUTES), np.float32), groups)
    assert found[0].tolist() == [0] * 12 + [1, 1, 1, 0] + [0, 1, 1, 1, 0]
    assert not condition_of(np.ones((3, N_ATTRIBUTES), np.float32), NONE).any()


def test_groups_are_withheld_as_often_as_the_preset_says():
    generator = np.random.default_rng(0)
    given = np.array([condition_groups(generator, 0.2).sum() for _ in range(4000)])
    assert (given == 0).mean() == pytest.approx(0.2 + 0.1 / 32, abs=0.03)
    assert (given == len(GROUPS)).mean() == pytest.approx(0.7 + 0.1 / 32, abs=0.03)


def test_moved_spans_stay_on_the_keyboard_and_keep_their_intervals():
    low, high = piece(9, pitch=LOWEST_KEY), piece(9, pitch=HIGHEST_KEY)
    low["pitch"][5], high["pitch"][5] = LOWEST_KEY + 4, HIGHEST_KEY - 4
    moved = set()
    for spans in training_spans([low, high], PRESET, 64, 8, (3,)):
        played = spans.pitch[:, :9]
        assert played.min() >= LOWEST_KEY
        assert played.max() <= HIGHEST_KEY
        assert set(np.abs(played[:, 5] - played[:, 0]).tolist()) == {4}
        moved |= set(played[:, 0].tolist())
    assert len(moved) > 4


def test_tempo_and_loudness_move_as_far_as_they_may_and_no_further():
    """Steps of .25 s by at most exp(.15); velocity 80 (bin 20) by at most 8 (two bins)."""
    spans = list(training_spans([piece(33)], PRESET, 64, 8, (0,)))
    step = np.concatenate([batch.step[:, 1] for batch in spans])
    assert np.abs(np.log(step / 0.25)).max() <= 0.15 + 1e-6
    assert np.log(step / 0.25).std() > 0.05
    velocity = np.concatenate([batch.velocity[:, 0] for batch in spans])
    assert (velocity.min(), velocity.max()) == (18, 22)
    [still] = training_spans([piece(33)], STILL, 8, 8, (0,))
    assert (still.step[:, 1] == 0.25).all()


def test_two_notes_are_enough():
    [spans] = training_spans([piece(2)], PRESET, 2, 2, (0,))
    assert spans.mask.sum(axis=1).tolist() == [1, 1]


def test_validation_reads_beginnings_of_pieces_spread_evenly():
    pieces = [piece(100, pitch=40 + number) for number in range(10)]
    few = beginnings(pieces, replace(PRESET, validation_notes=100))  # 320 notes: every fourth piece
    assert [row["pitch"][0] - 40 for row in few] == [0, 4, 8]
    assert {len(row) for row in few} == {32 + 1 + 8}
    assert len(beginnings(pieces, PRESET)) == 10
