import numpy as np

from emoray.evaluate.memorisation import TrainingSequences
from emoray.notes import as_notes


def piece(count=200, random_seed=0):
    generator = np.random.default_rng(random_seed)
    onset = np.cumsum(generator.integers(1, 30, count) * 0.02)
    return as_notes(onset, [0.2] * count, generator.integers(40, 90, count), [80] * count)


def joined(*parts):
    """Parts one after the other, a second apart."""
    onsets, start = [], 0.0
    for part in parts:
        onsets.append(part["onset"] - part["onset"][0] + start)
        start = onsets[-1][-1] + 1.0
    pitch = np.concatenate([part["pitch"] for part in parts])
    return as_notes(np.concatenate(onsets), [0.2] * len(pitch), pitch, [80] * len(pitch))


TRAINING = TrainingSequences([piece(random_seed=seed) for seed in range(5)])


def test_a_quotation_is_found_with_its_length_wherever_it_starts():
    quotation = piece(random_seed=3)[50:87]
    assert TRAINING.longest_shared(joined(piece(40, 90), quotation, piece(40, 91))) == 37


def test_a_whole_training_piece_is_found_whole():
    assert TRAINING.longest_shared(piece(random_seed=2)) == 200


def test_the_same_pitches_in_another_rhythm_are_no_quotation():
    slower = piece(random_seed=1).copy()
    slower["onset"] *= 1.9
    assert TRAINING.longest_shared(slower) < 5


def test_strangers_share_little_and_nothing_is_shared_with_nothing():
    assert TRAINING.longest_shared(piece(random_seed=77)) < 4
    assert TrainingSequences([]).longest_shared(piece()) == 0


def test_lengths_agree_with_a_search_by_hand():
    def by_hand(notes, others):
        def words(some):
            step = np.rint(np.diff(some["onset"], prepend=some["onset"][0]) / 0.02).astype(int)
            return list(zip(some["pitch"].tolist(), step.tolist(), strict=True))

        mine, best = words(notes), 0
        for theirs in map(words, others):
            for i in range(len(mine)):
                for j in range(len(theirs)):
                    length = 0
                    while (
                        i + length < len(mine)
                        and j + length < len(theirs)
                        and mine[i + length][0] == theirs[j + length][0]
                        and (length == 0 or mine[i + length] == theirs[j + length])
                    ):
                        length += 1
                    best = max(best, length)
        return best

    generator = np.random.default_rng(5)
    few = [
        as_notes(np.cumsum(generator.integers(1, 3, 60)) * 0.02, [0.1] * 60, generator.integers(60, 63, 60),
                 [80] * 60) for _ in range(6)
    ]  # fmt: skip
    training = TrainingSequences(few[:3])
    assert [training.longest_shared(notes) for notes in few[3:]] == [by_hand(n, few[:3]) for n in few[3:]]
