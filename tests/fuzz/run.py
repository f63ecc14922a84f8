"""Feed a door from a coverage-guided fuzzer (atheris, which is libFuzzer for Python) and count.

    python tests/fuzz/run.py DOOR [--runs N] [--corpus FOLDER] [--findings FOLDER]

Needs ``pip install atheris`` (Linux or macOS). Our own modules and the parsers written in Python are
instrumented; symusic, libsndfile, Pillow's decoders and Arrow are machine code that the fuzzer cannot see
into: there it only varies what it has, and a crash, a hang (10 s) or a gigabyte of memory is noticed all the
same. A finding ends one process and the next goes on, until the runs are done; its input is left in FINDINGS
beside what libFuzzer said, and

    python tests/fuzz/run.py DOOR --replay FILE

sends it through the door once more.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import re
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

SECONDS, MEGABYTES = 10, 1_024
MOST_FINDINGS = 10
INSTRUMENTED = ["emoray", "python_multipart", "starlette", "fastapi", "csv", "json"]


def fuzz(door_name: str, arguments: list[str]) -> None:
    """Become libFuzzer; does not return."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from doors import DOORS

    logging.disable()
    warnings.simplefilter("ignore")
    for seed in DOORS[door_name].seeds():  # what is compiled at its first use would look like a hang
        DOORS[door_name].enter(seed)
    warnings.simplefilter("error", RuntimeWarning)  # numpy's: a number that is none is on its way
    [prefix] = (text.removeprefix("-artifact_prefix=") for text in arguments if "-artifact" in text)

    def enter(data: bytes) -> None:
        try:
            DOORS[door_name].enter(data)
        except BaseException:  # libFuzzer itself keeps what crashed or hung
            Path(f"{prefix}{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise

    atheris.Setup([sys.argv[0], *arguments], enter)
    atheris.Fuzz()


def campaign(door_name: str, runs: int, corpus: Path, findings: Path) -> int:
    """Processes one after the other until the runs are done; prints what they did.

    Returns:
        How many findings there are.
    """
    from doors import DOORS

    door = DOORS[door_name]
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(door.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = findings / f"{door_name}.dict"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in door.words))
    done, found, began = 0, 0, time.monotonic()
    while done < runs and found < MOST_FINDINGS:
        code, executed = _child(
            findings / f"{door_name}.log",
            [door_name, "--libfuzzer", str(corpus), f"-runs={runs - done}", f"-max_len={door.longest}",
             f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-artifact_prefix={findings}/{door_name}-",
             f"-dict={words}", f"-seed={found + 1}", "-print_final_stats=1",
             "-keep_seed=1", "-reduce_inputs=0", "-len_control=0"],  # machine code gives no new coverage
        )  # fmt: skip
        done += executed
        found += code != 0
    seconds = time.monotonic() - began
    print(f"{door_name}: {done:,} runs, {done / seconds:,.0f} a second, {found} findings", flush=True)
    return found


def _child(log: Path, arguments: list[str]) -> tuple[int, int]:
    """One libFuzzer, all that it says added to a file: its exit code and how many inputs it ran."""
    with log.open("a+", errors="replace") as file:
        began = file.seek(0, 2)
        code = subprocess.run([sys.executable, __file__, *arguments], stdout=file, stderr=file).returncode
        file.seek(began)
        counts = re.findall(r"^#(\d+)\s|^stat::number_of_executed_units:\s+(\d+)", file.read(), flags=re.M)
    return code, max((int(number) for pair in counts for number in pair if number), default=0)


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> None:
    """Read the options; with ``--libfuzzer`` all that follows is libFuzzer's."""
    if sys.argv[2:3] == ["--libfuzzer"]:
        fuzz(sys.argv[1], sys.argv[3:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("door")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--corpus", type=Path, help="Kept and grown; by default a temporary folder.")
    parser.add_argument("--findings", type=Path, default=Path("findings"))
    parser.add_argument("--replay", type=Path, help="Send this file through the door instead.")
    options = parser.parse_args()
    if options.replay:
        from doors import DOORS

        DOORS[options.door].enter(options.replay.read_bytes())
        return
    with tempfile.TemporaryDirectory(prefix="emoray-corpus-") as folder:
        raise SystemExit(
            bool(campaign(options.door, options.runs, options.corpus or Path(folder), options.findings))
        )


if __name__ == "__main__":
    main()
