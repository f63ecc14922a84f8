"""`ray up` has no dry run, so the cluster file is checked as far as Ray can without a cloud."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text())

pytestmark = pytest.mark.ray  # imports Ray, which warns


def validated(cluster):
    from ray.autoscaler._private import util  # private, so Ray is pinned; only here

    prepared = util.prepare_config(cluster)
    util.validate_config(prepared)
    return prepared


def test_rays_own_validation_accepts_the_cluster_file():
    prepared = validated(CLUSTER)
    assert prepared["head_node_type"] == "head"
    assert prepared["available_node_types"]["worker"]["max_workers"] == 4


@pytest.mark.parametrize("change", [{"colour": "red"}, {"head_node_type": "none"}])
def test_the_validation_notices_what_is_wrong(change):
    with pytest.raises(Exception):  # noqa: B017, PT011 Ray raises a different type for each mistake
        validated(CLUSTER | change)


def test_the_image_is_that_of_the_locked_ray():
    [ray] = [
        line for line in (ROOT / "requirements.lock").read_text().splitlines() if line.startswith("ray==")
    ]
    assert f":{ray.removeprefix('ray==')}-py311" in CLUSTER["docker"]["image"]


def test_the_dashboard_stays_on_loopback_and_wants_a_token():
    [start] = [command for command in CLUSTER["head_start_ray_commands"] if "ray start" in command]
    assert "--dashboard-host=127.0.0.1" in start
    assert "RAY_AUTH_MODE=token" in start


def test_ray_writes_the_worker_address_by_itself():
    [start] = [command for command in CLUSTER["worker_start_ray_commands"] if "ray start" in command]
    assert "$RAY_HEAD_IP:6379" in start
