"""One local Ray cluster for each test process, started by the first test that asks for it.

The tests in ``tests/ray`` and ``tests/faults`` carry ``pytestmark = pytest.mark.ray`` and take the fixture
``ray_cluster``. The other folders need no cluster.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from emoray.cli.ray_session import POLLING

if TYPE_CHECKING:  # Ray is imported by the tests that need it
    from emoray.model.training import Standing
    from emoray.pipeline.run_folder import RunFolder

QUIET = {
    "RAY_AUTH_MODE": "disabled",  # else Ray writes a token into the home folder
    "RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S": "60",  # so a hang is an error, and not after 30 min
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "120",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the behaviour to come; the old one warns
    "RAY_metrics_report_interval_ms": "3000",  # a test reads what was recorded
    "RAY_prestart_worker_first_driver": "0",  # its workers have another environment, and it starts those
    "OMP_NUM_THREADS": "1",
    "AWS_ACCESS_KEY_ID": "test",  # of the S3 server that a test starts, and nobody's own
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}
os.environ.update(POLLING | QUIET)  # here, because Ray reads them when it is imported
os.environ.pop("RAY_ADDRESS", None)  # tests never join a cluster that somebody works on


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ray's own code warns, so warnings do not fail the tests that start it."""
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def ray_cluster(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A local Ray with 4 logical CPUs, shut down whatever happens; Serve too, if a test started it.

    Its workers log JSON; gives the folder of their logs.

    Functions and classes of the test modules reach the workers by value: a worker cannot import ``tests``.
    """
    import ray
    from ray import cloudpickle, serve

    from emoray.cli.ray_session import worker_environment

    modules = {item.module for item in request.session.items if item.get_closest_marker("ray")}  # type: ignore[attr-defined]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        cluster = ray.init(
            address="local",
            num_cpus=4,
            include_dashboard=False,
            object_store_memory=200_000_000,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env=worker_environment() | {"env_vars": {"EMORAY_LOG": "json"}},
        )
        yield Path(cluster.address_info["session_dir"]) / "logs"
    finally:
        if ray.is_initialized():
            serve.shutdown()
        ray.shutdown()  # without it Ray's address file stays and the next ray.init on this machine fails


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first test process fills and all processes of this run read."""
    here = tmp_path_factory.getbasetemp()
    folder = (here.parent if "PYTEST_XDIST_WORKER" in os.environ else here) / name
    with FileLock(f"{folder}.lock"):
        if not (done := folder / "done").exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def tunes(ray_cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``corpus`` and ``emotion.json``: see ``tunes.py``."""
    from tunes import corpus_of_tunes

    return made_once(tmp_path_factory, "tunes", corpus_of_tunes)


@pytest.fixture(scope="session")
def undisturbed(tunes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Standing]:
    """A run of the expressive preset on those tunes by two workers, which nobody disturbed."""
    from tunes import PRESET, TWO_WORKERS, run_of

    from emoray.pipeline.training import train

    def make(folder: Path) -> None:
        train(tunes / "corpus", run_of(folder / "run", tunes), PRESET, TWO_WORKERS)

    folder = made_once(tmp_path_factory, "undisturbed", make)
    run = run_of(folder / "run", tunes, resume=True)
    return run, run.standing(PRESET)


@pytest.fixture
def worker_log(ray_cluster: Path) -> Callable[[str], list[dict[str, Any]]]:
    """The lines about an item that workers and replicas have logged; waits for the first."""

    def about(item_id: str) -> list[dict[str, Any]]:
        for _ in range(100):
            text = "".join(path.read_text(errors="replace") for path in ray_cluster.glob("worker-*.err"))
            lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"time"')]
            if found := [line for line in lines if line.get("request") == item_id]:
                return found
            time.sleep(0.1)
        return []

    return about
