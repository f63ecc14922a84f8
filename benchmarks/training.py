"""Training of the expressive preset: notes a second, beside a window per note and beside the bound.

    python benchmarks/training.py [--rounds 3] [--chunks 2] [--workers] [--json FILE]

Three loops run on one core, with the shipped preset's width, batch and chunk, on random music:

- the training loop (``train_epoch``); the seconds that make spans are counted apart;
- a window of 25 notes for each predicted note, through torch's own layers: as many notes go through the
  network as in an update, and one in 25 of them is supervised;
- the bound: the loop's matrix products alone, forward and backward, in the same precision. The products of a
  time step run step by step on weights that are reordered before; the gradients of the weights run at once.

Each figure is the best of ``--rounds``, because others may use the machine: CPU seconds of the one thread,
and wall seconds beside them.

``--workers`` instead trains the preset on a small synthetic corpus, by one worker and by two in turns, twice,
on a Ray that is started as the command does, and compares the best seconds of the second epoch. Two processes
that each do the matrix products of half a batch at the same time, beside one that does those of the whole,
show the speed-up that the cores allow.
"""

import multiprocessing
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from figures import options, write_figures

from emoray.config import ExpressivePreset
from emoray.dataset.bins import DURATION_BINS, STEP_BINS, VELOCITY_BINS
from emoray.dataset.spans import training_spans
from emoray.model.expressive import CONDITION_WIDTH, DECAY_TIMES, ExpressiveNetwork
from emoray.model.expressive_training import ExpressiveOptimizer, train_epoch
from emoray.model.matrix import multiplies_bfloat16
from emoray.notes import N_PITCHES, as_notes

WINDOW = 25
PRESET = ExpressivePreset()
ROWS = PRESET.batch_size * PRESET.chunk
"""Notes of one update."""


def music(random_seed, count=3000):
    """A piece of chords and runs that nobody played."""
    generator = np.random.default_rng(random_seed)
    chord = generator.random(count) < 0.3
    step = np.where(chord, 0.01 * generator.random(count), generator.exponential(0.12, count))
    pitch = np.clip(60 + generator.integers(-12, 13, count) + generator.integers(-24, 25), 24, 100)
    return as_notes(
        np.cumsum(step), 0.03 + generator.exponential(0.4, count), pitch, generator.integers(30, 110, count)
    )


def best(work, rounds):
    """Least (CPU, wall) seconds of ``work``, after once for warmth."""
    work()
    found = []
    for _ in range(rounds):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return tuple(min(column) for column in zip(*found, strict=True))


def updates(preset, batches):
    """Work: an epoch of a fresh network over these batches."""
    torch.manual_seed(0)
    network = ExpressiveNetwork(preset)
    optimizer = ExpressiveOptimizer(network, preset)
    return lambda: train_epoch(network, network, optimizer, batches, preset, lambda _: preset.learning_rate)


def training(chunks, rounds):
    """(CPU, wall) seconds of an update, and CPU seconds of making the spans of one."""
    pieces = [music(number) for number in range(8)]
    preset = replace(PRESET, span=chunks * PRESET.chunk)
    spans = list(training_spans(pieces, preset, preset.batch_size, preset.batch_size, (0,)))
    made = best(
        lambda: next(training_spans(pieces, PRESET, PRESET.batch_size, PRESET.batch_size, (0,))), rounds
    )
    an_update = [seconds / chunks for seconds in best(updates(preset, spans), rounds)]
    return an_update, made[0] / (PRESET.span // PRESET.chunk)


def window_a_note(rounds):
    """(CPU, wall) seconds of an update of windows: only the note after each window counts."""
    preset = replace(PRESET, chunk=WINDOW, span=WINDOW, batch_size=ROWS // WINDOW)
    pieces = [music(number) for number in range(8)]
    [spans] = training_spans(pieces, preset, preset.batch_size, preset.batch_size, (0,))
    spans = replace(spans, mask=spans.mask & (np.arange(WINDOW) == WINDOW - 1))
    return best(updates(preset, [spans]), rounds)


def product(weights):
    """Function from [B, K] to [B, O] by weights [K, O]."""
    return lambda x: torch.mm(x, weights)


def products(batch_size=PRESET.batch_size):
    """Work: the matrix products of one update, forward and backward."""
    rows = batch_size * PRESET.chunk
    precision = torch.bfloat16 if multiplies_bfloat16(torch.device("cpu")) else torch.float32

    def normal(*shape):
        return torch.randn(shape).to(precision)

    work = []
    heads = [(PRESET.head, bins) for bins in (STEP_BINS, N_PITCHES, DURATION_BINS, VELOCITY_BINS)]
    width, head = PRESET.embedding, PRESET.head
    dense = [
        (len(DECAY_TIMES) * N_PITCHES, width + head), (CONDITION_WIDTH, width + 4 * head),
        (PRESET.hidden, 4 * head), *heads,
    ]  # fmt: skip
    for number, (inside, outside) in enumerate(dense):
        x, weights, grad = normal(rows, inside), normal(inside, outside), normal(rows, outside)
        across, out, back = normal(inside, rows), normal(rows, outside), normal(rows, inside)
        work.append(lambda x=x, weights=weights, out=out: torch.mm(x, weights, out=out))
        work.append(lambda across=across, grad=grad: torch.mm(across, grad))
        if number > 1:  # nothing asks what the network's input is to blame for
            work.append(lambda grad=grad, weights=weights, back=back: torch.mm(grad, weights.t(), out=back))
    for before in [width, *[PRESET.hidden] * (PRESET.layers - 1)]:
        inside, outside = before + PRESET.hidden, 4 * PRESET.hidden
        weights, x, grad = (
            normal(outside, inside), normal(batch_size, inside), normal(batch_size, outside)
        )  # fmt: skip
        forth, back = product(weights.t().contiguous()), product(weights)
        across, grads = normal(inside, rows), normal(rows, outside)
        work.append(lambda forth=forth, x=x: [forth(x) for _ in range(PRESET.chunk)])
        work.append(lambda back=back, grad=grad: [back(grad) for _ in range(PRESET.chunk)])
        work.append(lambda across=across, grads=grads: torch.mm(across, grads))
    return work


def side_by_side(count, rounds):
    """Wall seconds of the products of one update, when so many processes have a share of its batch each."""
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        pool.map(_warm, range(count), chunksize=1)
        return max(pool.starmap(_products, [(PRESET.batch_size // count, rounds)] * count, chunksize=1))


def _warm(_):
    torch.set_num_threads(1)
    time.sleep(3)  # so that each process takes one


def _products(batch_size, rounds):
    return sum(best(part, rounds)[1] for part in products(batch_size))


def second_epoch(workers, corpus, clusters, folder):
    """Seconds of the second epoch by so many workers of one CPU each."""
    from emoray.pipeline.run_folder import RunFolder
    from emoray.pipeline.training import TrainSettings, train

    preset = replace(PRESET, span=480, epoch_spans=256, epochs=2, validation_notes=2_000)
    run = RunFolder.at(folder / f"by-{time.time_ns()}", {"preset": "expressive"}, clusters, resume=False)
    standing = train(corpus, run, preset, TrainSettings(workers=workers, cpus_per_worker=1))
    return standing.history[1]["seconds"]


def by_workers():
    """Seconds of the second epoch by one worker and by two."""
    import ray

    from emoray.cli.ray_session import start_ray
    from emoray.pipeline.clustering import cluster_corpus
    from emoray.pipeline.ingest import ingest
    from emoray.writers.midi import midi_bytes

    start_ray(local=True)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            lines = ["canonical_composer,canonical_title,split,year,midi_filename"]
            (folder / "midi").mkdir()
            for number in range(24):
                (folder / "midi" / f"{number}.mid").write_bytes(midi_bytes(music(number)))
                split = "validation" if number < 4 else "train"
                lines.append(f"Nobody,Piece {number},{split},2000,{number}.mid")
            (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
            ingest(folder / "midi", folder / "corpus", metadata=folder / "metadata.csv")
            clusters = cluster_corpus(folder / "corpus", durations="sounding")[0]
            turns = [
                [second_epoch(count, folder / "corpus", clusters, folder) for count in (1, 2)]
                for _ in range(2)
            ]
            return [min(seconds) for seconds in zip(*turns, strict=True)]
    finally:
        ray.shutdown()


def one_core(chunks, rounds):
    """Figures of the training loop, printed."""
    torch.set_num_threads(1)
    an_update, spans = training(chunks, rounds)
    windows = window_a_note(rounds)
    bound = sum(best(part, rounds + 2)[0] for part in products())
    found = {
        "notes a second": ROWS / an_update[0], "by the wall clock": ROWS / an_update[1],
        "window a note": ROWS // WINDOW / windows[0],
        "times a window a note": ROWS / an_update[0] / (ROWS // WINDOW / windows[0]),
        "bound": ROWS / bound, "of the bound": bound / an_update[0],
        "waiting for data": spans / (spans + an_update[0]),
    }  # fmt: skip
    print(
        f"{found['notes a second']:,.0f} supervised notes a second of CPU"
        f" ({found['by the wall clock']:,.0f} by the wall clock),\n"
        f"  {found['times a window a note']:.1f} x a window for each note ({found['window a note']:,.0f}),\n"
        f"  {found['of the bound']:.0%} of the matrix products alone ({found['bound']:,.0f}),\n"
        f"  {found['waiting for data']:.1%} of the time spent on making spans",
        flush=True,
    )
    return found


def two_cores(rounds):
    """Figures of two workers beside one, printed."""
    one, two = by_workers()
    alone, shared = (side_by_side(count, rounds) for count in (1, 2))
    print(
        f"two workers: {one / two:.2f} x one ({one:.1f} s and {two:.1f} s for the second epoch);"
        f" the products alone: {alone / shared:.2f} x"
    )
    return {
        "one worker, s": one, "two workers, s": two, "times one worker": one / two,
        "products of two processes, times one": alone / shared,
    }  # fmt: skip


def main():
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=2, help="updates in each round")
    parser.add_argument("--workers", action="store_true", help="only one Ray Train worker beside two")
    arguments = parser.parse_args()
    found = two_cores(arguments.rounds) if arguments.workers else one_core(arguments.chunks, arguments.rounds)
    write_figures(found, arguments.json)


if __name__ == "__main__":
    main()
