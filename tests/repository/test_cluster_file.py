"""`ray up` has no dry run, so the launcher's files are checked as far as Ray can without a cloud."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = {name: ROOT / name for name in ("cluster.yaml", "deploy/gcp.yaml", "deploy/on-premises.yaml")}
CLUSTERS = {name: yaml.safe_load(path.read_text()) for name, path in FILES.items()}
CLUSTER, ON_PREMISES = CLUSTERS["cluster.yaml"], CLUSTERS["deploy/on-premises.yaml"]

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's
each_cluster = pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)


def validated(cluster):
    from ray.autoscaler._private import util  # private, so Ray is pinned; only here

    prepared = util.prepare_config(cluster)
    util.validate_config(prepared)
    return prepared


@pytest.mark.parametrize("name", ["cluster.yaml", "deploy/gcp.yaml"])
def test_rays_own_validation_accepts_the_cluster_file(name):
    prepared = validated(CLUSTERS[name])
    assert prepared["head_node_type"] == "head"
    assert prepared["available_node_types"]["worker"]["max_workers"] == 4


def test_on_premises_ray_keeps_every_machine_that_is_listed():
    [(_, machines)] = validated(ON_PREMISES)["available_node_types"].items()
    listed = len(ON_PREMISES["provider"]["worker_ips"])
    assert machines["min_workers"] == machines["max_workers"] == listed


@each_cluster
@pytest.mark.parametrize("change", [{"colour": "red"}, {"max_workers": "all"}])
def test_the_validation_notices_what_is_wrong(cluster, change):
    with pytest.raises(Exception):  # noqa: B017, PT011 Ray raises a different type for each mistake
        validated(cluster | change)


def test_the_validation_notices_a_head_that_is_no_node_type():
    with pytest.raises(ValueError, match="head_node_type"):
        validated(CLUSTER | {"head_node_type": "none"})


@pytest.mark.parametrize("field", ["head_node", "worker_nodes", "available_node_types"])
def test_on_premises_ray_refuses_what_only_clouds_have(field):
    import click

    with pytest.raises(click.ClickException):
        validated(ON_PREMISES | {field: {"head": {}}})


@each_cluster
def test_the_image_is_that_of_the_locked_ray(cluster):
    [ray] = [
        line for line in (ROOT / "requirements.lock").read_text().splitlines() if line.startswith("ray==")
    ]
    assert f":{ray.removeprefix('ray==')}-py311" in cluster["docker"]["image"]


@each_cluster
def test_the_dashboard_stays_on_loopback_and_wants_a_token(cluster):
    [start] = [command for command in cluster["head_start_ray_commands"] if "ray start" in command]
    assert "--dashboard-host=127.0.0.1" in start
    assert "RAY_AUTH_MODE=token" in start


@each_cluster
def test_ray_writes_the_worker_address_by_itself(cluster):
    [start] = [command for command in cluster["worker_start_ray_commands"] if "ray start" in command]
    assert "$RAY_HEAD_IP:6379" in start


@each_cluster
def test_nothing_runs_on_the_head(cluster):
    [start] = [command for command in cluster["head_start_ray_commands"] if "ray start" in command]
    head = cluster.get("available_node_types", {}).get("head", {})
    assert head.get("resources") == {"CPU": 0} or "--num-cpus=0" in start


@each_cluster
@pytest.mark.parametrize(
    "field",
    ["docker", "file_mounts", "rsync_exclude", "rsync_filter", "setup_commands", "worker_start_ray_commands"],
)
def test_all_clusters_are_set_up_alike(cluster, field):
    assert cluster[field] == CLUSTER[field]
