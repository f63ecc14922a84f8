"""A soak test of `emoray serve`: valid and invalid requests, a burst of clients, and Ctrl-C while it works.

    python benchmarks/soak.py [--requests 500] [--minutes 10] [--clients 8] [--burst 300] [--json FILE]

The server runs on loopback in a process of its own. The mix of requests (`requests_mix.py`) ends after
--requests or after --minutes. A valid request must get 200, or 503 or 429 with Retry-After; an invalid one
must get its 4xx. Memory is the USS of all processes of the server together. Its slope is fitted over the
second half of the requests; "grows" means that it exceeds --slope MB per 1,000 requests by more than twice
its standard error. Under 2,000 requests no verdict is given, because allocators still fill up. The exit
status is 1 if anything was wrong. The full size is --requests 20000 --minutes 240.
"""

import itertools
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from figures import options, write_figures
from memory import MEGABYTE, held, sampled
from requests_mix import TOKEN, ask, kinds, sampled_kind
from server import serving

LONG, UNDER_WAY = 120, 4
"""Notes of the requests that are under way when the server is answers to stop, and how many of each kind."""
LARGEST = 5
"""Processes whose memory is printed."""
ENOUGH = 2000
"""Requests before a slope of memory says anything."""


def mixed(server, every_kind, arguments):
    """(outcomes, samples of (requests done, bytes by process)) of the mix."""
    kind_of, numbers, outcomes = sampled_kind(every_kind, arguments.random_seed), itertools.count(), []
    deadline = time.monotonic() + 60 * arguments.minutes

    def client(_):
        while (number := next(numbers)) < arguments.requests and time.monotonic() < deadline:
            outcomes.append(ask(server.url, kind_of(number), number))

    with (
        sampled(lambda: (len(outcomes), held(server.process.pid)), every=arguments.every) as samples,
        ThreadPoolExecutor(arguments.clients) as pool,
    ):
        list(pool.map(client, range(arguments.clients)))
    return outcomes, samples


def slope(samples):
    """(MB per 1,000 requests, standard error) by least squares, over the second half of the requests."""
    done, size = np.array([(done, sum(sizes.values()) / MEGABYTE) for done, sizes in samples]).T
    later = done > done[-1] / 2
    (gain, _), covariance = np.polyfit(done[later] / 1000, size[later], 1, cov=True)
    return float(gain), float(covariance[0, 0] ** 0.5)


def by_process(samples):
    """(process, MB at a quarter, half, three quarters and all of the requests), the largest first."""
    ends = [samples[-1][0] * quarter / 4 for quarter in (1, 2, 3, 4)]
    looks = [min(samples, key=lambda sample: abs(sample[0] - end))[1] for end in ends]
    for name in sorted(looks[-1], key=looks[-1].get, reverse=True)[:LARGEST]:
        yield name, [look.get(name, 0) / MEGABYTE for look in looks]


def by_kind(outcomes):
    """Rows of (kind, requests, answers to come back, wrong, slowest seconds)."""
    for name in sorted({outcome.kind for outcome in outcomes}):
        mine = [outcome for outcome in outcomes if outcome.kind == name]
        wrong = Counter(outcome.wrong for outcome in mine if outcome.wrong)
        busy = sum(outcome.busy for outcome in mine)
        yield name, len(mine), busy, dict(wrong), max(outcome.seconds for outcome in mine)


def report(title, outcomes):
    """Print what became of requests; how many went wrong, and the figures."""
    print(f"{title}\n  {'kind':22} {'requests':>8} {'come back':>9} {'wrong':>5} {'slowest s':>9}")
    rows = list(by_kind(outcomes))
    for name, count, busy, wrong, slowest in rows:
        print(f"  {name:22} {count:8} {busy:9} {sum(wrong.values()):5} {slowest:9.1f}")
        for what, times in wrong.items():
            print(f"    {times} x {what}")
    fields = ("kind", "requests", "come_back", "wrong", "slowest_seconds")
    return sum(outcome.wrong is not None for outcome in outcomes), [
        dict(zip(fields, row, strict=True)) for row in rows
    ]


def interrupted(server, every_kind):
    """Outcomes of good requests of every kind that were under way at Ctrl-C."""
    asked = [kind for kind in every_kind if kind.status == 200] * UNDER_WAY
    with ThreadPoolExecutor(len(asked)) as pool:
        under_way = [pool.submit(ask, server.url, kind, number) for number, kind in enumerate(asked)]
        time.sleep(2.0)
        server.interrupt()
        return [request.result() for request in under_way]


def main():
    """Run the three phases; print, and judge."""
    parser = options(__doc__)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--burst", type=int, default=300)
    parser.add_argument("--notes", type=int, default=8)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two looks at memory")
    parser.add_argument("--slope", type=float, default=5.0)
    parser.add_argument("--random-seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        every_kind = kinds(Path(scratch), arguments.notes)
        with serving(Path(scratch) / "log", token=TOKEN, checkpoint=arguments.checkpoint) as server:
            outcomes, samples = mixed(server, every_kind, arguments)
            wrong, mix = report("mixed", outcomes)
            first, last = (sum(sizes.values()) / MEGABYTE for _, sizes in (samples[0], samples[-1]))
            gain, error = slope(samples) if len(outcomes) >= ENOUGH else (None, None)
            grows = gain is not None and gain - 2 * error > arguments.slope
            verdict = "too few requests to judge" if gain is None else "grows" if grows else "steady"
            growth = "" if gain is None else f"{gain:+.1f} (error {error:.1f}) MB per 1,000 requests: "
            print(f"  memory {first:,.0f} MB, then {last:,.0f} MB; {growth}{verdict}")
            for name, sizes in by_process(samples):
                print(f"    {name:44}" + "".join(f"{size:8,.0f}" for size in sizes))
            with ThreadPoolExecutor(arguments.burst) as pool:
                good = every_kind[0]
                answers = list(pool.map(lambda n: ask(server.url, good, n), range(arguments.burst)))
            answers.append(replace(ask(server.url, good, 0), kind="good, afterwards"))
            more, overload = report(f"{arguments.burst} clients at once", answers)
            last_requests = interrupted(server, kinds(Path(scratch), LONG))
        even_more, stop = report("under way at Ctrl-C", last_requests)
        left = f"{len(server.left)} processes left" if server.left else "nothing left"
        print(f"  stopped in {server.stopped_in:.1f} s, exit {server.process.returncode}, {left}")
    wrong += more + even_more + len(server.left) + grows
    print("all as it must be" if not wrong else f"{wrong} wrong")
    figures = {
        "mixed": mix, "overload": overload, "stop": stop, "wrong": wrong,
        "memory": [(done, sizes) for done, sizes in samples], "slope": gain, "slope_error": error,
        "stop_seconds": server.stopped_in,
    }  # fmt: skip
    write_figures(figures, arguments.json)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
