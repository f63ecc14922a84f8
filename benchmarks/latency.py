"""Latency of POST /v1/generate, from `emoray serve` on loopback, with 1, 4 and 16 clients.

    python benchmarks/latency.py [--requests 40] [--clients 1 4 16] [--notes 24] [--json FILE]

The clients are threads of this process; the server is another process. A client sends its next request when
it has its answer. The baseline is the same request answered in this process without a server, one at a time
on one thread, before the server starts. The ratio is the cost of HTTP, Serve and concurrent requests for the
median client. The full size is --requests 400.
"""

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import numpy as np
from figures import options, write_figures
from server import serving

from emoray.demo.files import write_demo
from emoray.generation import generate_results, write
from emoray.pipeline.worker import LOADERS
from emoray.request import File, GenerationRequest
from emoray.web.settings import ServeSettings

ALONE = 10
"""Items that the baseline answers."""


def alone(seed, notes, checkpoint):
    """Median seconds of an item without a server."""
    settings = ServeSettings(checkpoint=checkpoint)
    composer, guidance = LOADERS.composer(settings)
    read_seed, times = LOADERS.seeds(settings), []
    for number in range(ALONE + 1):
        request = GenerationRequest(seed=File("seed", seed), emotion="happy", notes=notes, random_seed=number)
        started = time.monotonic()
        [result] = generate_results(
            [request],
            read_faces=lambda _: [],
            read_seed=read_seed,
            compose=composer.compose,
            guidance=guidance,
        )
        write(result)
        times.append(time.monotonic() - started)
    return statistics.median(times[1:])  # the first one imports


def ask(client, seed, notes, random_seed):
    """(status, seconds) of one request."""
    started = time.monotonic()
    answer = client.post(
        "/v1/generate",
        files={"seed": seed},
        data={"emotion": "happy", "notes": str(notes), "random_seed": str(random_seed)},
    )
    return answer.status_code, time.monotonic() - started


def measure(url, clients, seed, arguments):
    """Figures for so many clients at once."""
    started, limits = time.monotonic(), httpx.Limits(max_connections=clients)
    with (
        httpx.Client(base_url=url, timeout=300, limits=limits) as client,
        ThreadPoolExecutor(clients) as pool,
    ):
        post = partial(ask, client, seed, arguments.notes)
        answers = list(pool.map(post, range(arguments.requests)))
    good = [seconds for status, seconds in answers if status == 200]
    p50, p95, p99 = np.percentile(good, [50, 95, 99]).tolist()
    rate = len(good) / (time.monotonic() - started)
    return {"clients": clients, "good": len(good), "p50": p50, "p95": p95, "p99": p99, "rate": rate}


def main():
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--notes", type=int, default=24)
    parser.add_argument("--checkpoint", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        seed = (write_demo(Path(scratch)).midi / "minuet_in_g.mid").read_bytes()
        bare = alone(seed, arguments.notes, arguments.checkpoint)
        print(f"{arguments.notes} notes without a server: {bare:.2f} s")
        print(f"{'clients':>7} {'p50 s':>7} {'p95 s':>7} {'p99 s':>7} {'requests/s':>11} {'p50, ratio':>11}")
        rows = []
        with serving(Path(scratch) / "log", checkpoint=arguments.checkpoint) as server:
            measure(server.url, 1, seed, arguments)
            for clients in arguments.clients:
                row = measure(server.url, clients, seed, arguments)
                row["ratio"] = row["p50"] / bare
                rows.append(row)
                print(
                    f"{clients:7} {row['p50']:7.2f} {row['p95']:7.2f} {row['p99']:7.2f} {row['rate']:11.2f}"
                    f" {row['ratio']:11.2f}   {row['good']} of {arguments.requests} answered"
                )
    write_figures({"alone_seconds": bare, "notes": arguments.notes, "rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
