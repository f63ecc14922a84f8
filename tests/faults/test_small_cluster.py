"""A batch where no node has one whole free CPU: a container with one, small nodes, beside other work.

What may be lost: nothing. It once waited for ever, without a word.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from batches import write_manifest

from emoray.demo.files import OPENING_SECONDS, opening
from emoray.demo.pieces import pieces
from emoray.writers.midi import midi_bytes

pytestmark = pytest.mark.ray

DRIVER = """
import sys, ray
from emoray.cli.ray_session import POLLING, worker_environment
from emoray.pipeline.batch_driver import run_batch
ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=100_000_000,
         log_to_driver=False, logging_level="ERROR", runtime_env=worker_environment())
print("answered", run_batch(sys.argv[1], sys.argv[2]).ok)
"""


def test_the_default_batch_ends_on_a_cluster_with_one_cpu(tmp_path: Path):
    """Its replicas hold fractions of the CPU, so nothing may ask for a whole one."""
    seed = midi_bytes(opening(pieces()[0].notes, OPENING_SECONDS))
    rows = [{"id": f"row-{number}", "seed": "seed.mid", "emotion": "sad", "notes": 5} for number in range(4)]
    manifest = write_manifest(tmp_path, rows)
    (tmp_path / "seed.mid").write_bytes(seed)
    driver = subprocess.run(
        [sys.executable, "-c", DRIVER, str(manifest), str(tmp_path / "out")],
        env=os.environ | {"RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S": "300"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert "answered 4" in driver.stdout, driver.stdout + driver.stderr
