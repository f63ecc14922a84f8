"""Composing: notes a second beside a naive loop, and beside the matrix products alone, in one run.

    python benchmarks/composing.py [--threads 1 2] [--batches 1 16 64 256] [--every-mode | --modes MODE ...]
                                   [--presets baseline expressive] [--json FILE]

The naive loop composes one request at a time and runs a window of 25 notes through torch's own layers for
each note. For the baseline preset it computes the emotion score from 128 windows, each with a candidate
appended, as the published code does; for the expressive preset it runs both passes of classifier-free
guidance.

The bound is the time of the same matrix products alone, by torch, on as many rows: in bfloat16 where the
hardware supports it, and in brackets in float32. emoray can be faster than the bound, because it reorders its
weights once. Each figure is the best of several rounds, because others may use the machine.
"""

import time

import numpy as np
import torch
from figures import options, write_figures

from emoray.compose.baseline_decoder import context
from emoray.compose.decoding import BatchDecoder
from emoray.compose.original_formulas import emotion_score, on_keyboard, original_logits
from emoray.compose.prefill import note_inputs
from emoray.compose.sampling import choose, sample
from emoray.config import CONDITIONED_MODES, GUIDANCE_MODES, OriginalGuidance
from emoray.dataset.attributes import attributes_ahead
from emoray.dataset.bins import DURATION_EDGES, STEP_EDGES
from emoray.dataset.spans import condition_of
from emoray.demo.pieces import pieces
from emoray.model.checkpoint import load_checkpoint
from emoray.model.expressive import CONDITION_WIDTH, DENSE, Decided, ExpressiveNetwork, NoteInputs
from emoray.model.matrix import multiplies_bfloat16
from emoray.model.preset import PRETRAINED
from emoray.request import Prompt

WINDOW = 25
EVERY = np.ones(5, np.bool_)
SEED_NOTES = 64
NAIVE_NOTES = 60
DEFAULT = {"baseline": "original", "expressive": "cfg"}
"""Guidance beside which the naive loop is measured."""


def seed():
    """The opening of an embedded piece."""
    return max((piece.notes for piece in pieces()), key=len)[:SEED_NOTES]


def best(work, rounds):
    """Least wall seconds of ``work``."""
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)


def composed(checkpoint, mode, batch, notes, rounds):
    """(seconds to prefill, seconds to compose) of a batch with so many notes each; the least of each."""
    composer = BatchDecoder(checkpoint, batch_size=batch)
    requests = [
        Prompt(seed=seed(), valence=1 - 2 * (number % 2), guidance=mode, notes=notes, random_seed=number)
        for number in range(batch)
    ]
    found = []
    for _ in range(rounds):
        decoder, started = composer.new_batch(), time.perf_counter()
        decoder.join([*enumerate(requests)])
        entered = time.perf_counter()
        while decoder.states:
            decoder.decode_step()
            decoder.leave()
        found.append((entered - started, time.perf_counter() - entered))
    return np.min(found, axis=0)


@torch.no_grad()
def naive_baseline(checkpoint, notes):
    """The published loop: the window, and 128 windows with a candidate appended, anew for each note."""
    network, clusters, generator = checkpoint.network, checkpoint.clusters, np.random.default_rng(0)
    guidance, window = OriginalGuidance(), context(seed(), WINDOW)
    for _ in range(notes):
        logits, step, duration = (
            part.numpy().astype(np.float64) for part in network(torch.from_numpy(window)[None])
        )
        following = np.stack([np.arange(128) / 128, np.full(128, step[0]), np.full(128, duration[0])], axis=1)
        candidates = np.concatenate([np.repeat(window[None], 128, axis=0), following[:, None]], axis=1)
        columns = candidates[:, :, 1], candidates[:, :, 2], candidates[:, :, 0] * 128
        features = [measure(column, axis=1) for column in columns for measure in (np.mean, np.max, np.std)]
        distances = clusters.distances(np.stack(features, axis=1))
        score = emotion_score(distances[:, clusters.happy], distances[:, 1 - clusters.happy])[None]
        guided = (
            on_keyboard(original_logits(logits, score, np.ones(1), np.ones(1), guidance))
            / guidance.temperature
        )
        [pitch] = choose(np.exp(guided - guided.max()), generator.random(1))
        note = np.array([[pitch / 128, max(step[0], 0), max(duration[0], 0.01)]], np.float32)
        window = np.concatenate([window[1:], note])


@torch.no_grad()
def naive_expressive(checkpoint, notes):
    """A window run anew for each note, without and with a condition, and four samples from guided logits."""
    network, generator = checkpoint.network, np.random.default_rng(0)
    window = note_inputs(seed())[-WINDOW:]
    condition = np.zeros((2, WINDOW, CONDITION_WIDTH), np.float32)
    condition[1] = condition_of(
        attributes_ahead(seed(), checkpoint.preset.lookahead, 1), np.ones(5, np.bool_)
    )[0]
    condition, one = torch.from_numpy(condition), np.ones(1)

    def sampled(logits):
        uncond, cond = logits[:, -1].numpy().astype(np.float64)
        return int(sample((uncond + 1.7 * (cond - uncond))[None], one, 0.98 * one, generator.random(1))[0])

    def both(value):
        return torch.tensor(value).expand(2, 1)

    for _ in range(notes):
        x = torch.from_numpy(window).expand(2, -1, -1)
        inputs = NoteInputs(x[..., 0].long(), x[..., 1].float(), x[..., 2].float(), x[..., 3].long())
        context_of, _ = network.read(inputs, condition, network.start(2))
        last = type(context_of)(
            tuple(head[:, -1:] for head in context_of.heads), *(part[:, -1:] for part in context_of[1:])
        )
        added = network.head_condition(condition[:, -1:])
        step = both(float(STEP_EDGES[sampled(network.step_logits(last, added))]))
        pitch = both(sampled(network.pitch_logits(last, added, step)))
        duration = both(
            float(DURATION_EDGES[sampled(network.duration_logits(last, added, step, pitch))]) + 0.01
        )
        velocity = sampled(network.velocity_logits(last, added, Decided(step, pitch, duration)))
        note = [float(pitch[0]), float(step[0]), float(duration[0]), velocity]
        window = np.concatenate([window[1:], [note]])


def products(checkpoint, rows, precision=None):
    """The matrix products of one note, alone, in the precision that composing uses or in another one."""
    network = checkpoint.network
    if isinstance(network, ExpressiveNetwork):
        quick = torch.bfloat16 if multiplies_bfloat16(torch.device("cpu")) else torch.float32
        layers = [network._layer(name)[0] for name in DENSE]
        layers += [part for lstm in network.lstm for part in lstm.parameters() if part.ndim == 2]
        weights = [part.detach().t().contiguous().to(precision or quick) for part in layers]
        pairs = [(torch.randn(rows, len(part)).to(part.dtype), part) for part in weights]
    else:
        hidden = checkpoint.preset.hidden
        shapes = [(rows * WINDOW, 3, 4 * hidden), *[(rows, hidden, 4 * hidden)] * WINDOW, (rows, hidden, 130)]
        pairs = [(torch.randn(count, k), torch.randn(k, outside)) for count, k, outside in shapes]
    return lambda: [torch.mm(x, weights) for x, weights in pairs]


def measured(preset, mode, batch, threads, naive, arguments):
    """One row of figures."""
    checkpoint = load_checkpoint(PRETRAINED / preset)
    notes, rounds = arguments.notes, arguments.rounds
    rows = 2 * batch if mode in CONDITIONED_MODES else batch
    with torch.inference_mode():
        bound, exact = (
            best(products(checkpoint, rows, precision), 5 * rounds) for precision in (None, torch.float32)
        )
    prefilled, composing = composed(checkpoint, mode, batch, notes, rounds)
    a_note, rate = composing / notes, batch * notes / (prefilled + composing)
    return {
        "preset": preset, "guidance": mode, "batch": batch, "threads": threads,
        "notes a second": rate, "times naive": rate / naive,
        "of the bound": bound / a_note, "of the bound in float32": exact / a_note,
        "200 notes, s": prefilled + 200 * a_note,
    }  # fmt: skip


def main():
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--notes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every-mode", action="store_true")
    parser.add_argument("--modes", nargs="+", choices=GUIDANCE_MODES)
    parser.add_argument("--presets", nargs="+", choices=DEFAULT, default=[*DEFAULT])
    arguments = parser.parse_args()
    found = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for preset in arguments.presets:
            checkpoint, loop = load_checkpoint(PRETRAINED / preset), globals()[f"naive_{preset}"]
            naive = NAIVE_NOTES / best(
                lambda loop=loop, of=checkpoint: loop(of, NAIVE_NOTES), arguments.rounds
            )
            print(f"{preset} preset, {threads} threads: the naive loop makes {naive:,.0f} notes a second")
            asked = GUIDANCE_MODES if arguments.every_mode else arguments.modes or [DEFAULT[preset]]
            for mode in [mode for mode in asked if preset != "baseline" or mode not in CONDITIONED_MODES]:
                for batch in arguments.batches:
                    row = measured(preset, mode, batch, threads, naive, arguments)
                    found.append(row | {"naive": naive})
                    print(
                        f"  {mode:13} batch {batch:4} {row['notes a second']:8,.0f} notes a second,"
                        f" {row['times naive']:6.1f} x naive, {row['of the bound']:4.0%} of the bound"
                        f" ({row['of the bound in float32']:4.0%} in float32),"
                        f" 200 notes in {row['200 notes, s']:.2f} s",
                        flush=True,
                    )
    write_figures({"composing": found}, arguments.json)


if __name__ == "__main__":
    main()
