"""The files that start emoray elsewhere, checked as far as that goes without a cluster, Docker or a network.

The launcher's files are checked in ``test_cluster_file.py``.
"""

import json
import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import typer
import yaml

from emoray.cli import app
from emoray.web.settings import HttpSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILES = [
    ROOT / "cluster.yaml",
    ROOT / ".dockerignore",
    *(path for path in DEPLOY.rglob("*") if path.is_file()),
]
KUBERAY = {path.stem: yaml.safe_load(path.read_text()) for path in (DEPLOY / "kuberay").glob("*.yaml")}
DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
LOCKED = dict(
    line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
each_kind = pytest.mark.parametrize("name", ["raycluster", "rayjob", "rayservice"])


def cluster_of(name):
    """The RayCluster spec in a KubeRay file."""
    spec = KUBERAY[name]["spec"]
    return spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec


def pods(name):
    """Each pod's spec in a KubeRay file."""
    cluster = cluster_of(name)
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def containers(name):
    return [container for pod in pods(name) for container in pod["containers"]]


# KubeRay

CLUSTER_KEYS = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
JOB_KEYS = {
    "entrypoint",
    "backoffLimit",
    "shutdownAfterJobFinishes",
    "ttlSecondsAfterFinished",
    "rayClusterSpec",
}
KINDS = {
    "raycluster": ("RayCluster", CLUSTER_KEYS),
    "rayjob": ("RayJob", JOB_KEYS),
    "rayservice": ("RayService", {"serveConfigV2", "rayClusterConfig"}),
}
"""Keys of KubeRay 1.5 that are used here. Kubernetes would refuse any other; here a new one is an edit."""
POD_KEYS = {"securityContext", "containers", "volumes"}
CONTAINER_KEYS = {"name", "image", "securityContext", "resources", "env", "volumeMounts"}


@each_kind
def test_a_kuberay_file_has_its_fields_and_no_others(name):
    kind, keys = KINDS[name]
    found = KUBERAY[name]
    assert found.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert (found["apiVersion"], found["kind"]) == ("ray.io/v1", kind)
    assert found["metadata"]["name"].startswith("emoray")
    assert found["spec"].keys() == keys
    cluster = cluster_of(name)
    assert cluster.keys() == CLUSTER_KEYS
    assert cluster["headGroupSpec"].keys() == {"rayStartParams", "template"}
    for group in cluster["workerGroupSpecs"]:
        wanted = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
        assert group.keys() == wanted
    assert all(pod.keys() <= POD_KEYS for pod in pods(name))
    assert all(container.keys() <= CONTAINER_KEYS for container in containers(name))


@each_kind
def test_start_parameters_are_text_as_kuberay_wants_them(name):
    cluster = cluster_of(name)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


@each_kind
def test_rays_ports_want_a_token_and_containers_have_no_more_rights_than_they_need(name):
    assert cluster_of(name)["authOptions"] == {"mode": "token"}
    assert all(pod["securityContext"]["runAsNonRoot"] for pod in pods(name))
    rights = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert all(container["securityContext"] == rights for container in containers(name))


@each_kind
def test_every_mount_has_its_volume(name):
    for pod in pods(name):
        there = {volume["name"] for volume in pod.get("volumes", [])}
        wanted = {mount["name"] for one in pod["containers"] for mount in one.get("volumeMounts", [])}
        assert wanted == there


def test_the_three_kinds_start_the_same_cluster():
    assert cluster_of("rayjob") == cluster_of("raycluster")
    own = {"env", "volumeMounts"}
    service, there = (
        [{key: value for key, value in one.items() if key not in own} for one in containers(name)]
        for name in ("rayservice", "raycluster")
    )
    assert service == there


def test_a_job_that_is_tried_again_goes_on():
    entrypoints = re.findall(r"entrypoint: (emoray .*)", (DEPLOY / "kuberay" / "rayjob.yaml").read_text())
    assert len(entrypoints) == 2, "a batch, and training as a comment"
    for entrypoint in entrypoints:
        assert " --resume" in entrypoint
        assert re.search(r"--out /shared/\S+", entrypoint), (
            "a fixed name, on storage that outlives the cluster"
        )
        assert not set(entrypoint) & set("|&;<>$`"), "the submitter's own shell would take it"


# Serve


def serve_config():
    return yaml.safe_load(KUBERAY["rayservice"]["spec"]["serveConfigV2"])


@pytest.mark.filterwarnings("ignore")  # Serve's
def test_serve_accepts_the_config_and_knows_every_key_of_it():
    from ray.serve import schema

    config = serve_config()
    schema.ServeDeploySchema(**config)  # accepts unknown keys, so they are looked for
    [application] = config["applications"]
    for keys, kind in (
        (config, schema.ServeDeploySchema),
        (config["http_options"], schema.HTTPOptionsSchema),
        (application, schema.ServeApplicationSchema),
    ):
        assert keys.keys() <= kind.model_fields.keys()


@pytest.mark.filterwarnings("ignore")  # Serve's
def test_the_config_names_a_builder_that_takes_its_args_and_refuses_to_start_without_a_token(monkeypatch):
    from importlib import import_module

    from emoray.errors import ConfigError

    [application] = serve_config()["applications"]
    module, name = application["import_path"].split(":")
    builder = getattr(import_module(module), name)
    monkeypatch.setenv("EMORAY_TOKEN", "a token")
    builder(application["args"])
    monkeypatch.delenv("EMORAY_TOKEN")
    with pytest.raises(ConfigError, match="set a token"):
        builder(application["args"])


def test_serve_and_the_application_are_told_of_the_same_door():
    config = serve_config()
    [application] = config["applications"]
    http = config["http_options"]
    assert (http["host"], http["port"]) == (application["args"]["host"], application["args"]["port"])
    assert http["request_timeout_s"] > HttpSettings().timeout, "else Serve gives up before the door does"


def test_the_token_comes_from_a_secret_in_every_pod():
    """Serve may call the builder on any of them."""
    secret = {"secretKeyRef": {"name": "emoray-token", "key": "token"}}
    wanted = {"name": "EMORAY_TOKEN", "valueFrom": secret}
    assert all(wanted in container["env"] for container in containers("rayservice"))


def test_serve_finds_room_for_its_replicas():
    [application] = serve_config()["applications"]
    replicas = application["args"]["composer_replicas"] * application["args"]["composer_cpus"]
    workers = cluster_of("rayservice")["workerGroupSpecs"]
    cpus = [
        group["replicas"] * int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
        for group in workers
    ]
    assert replicas < sum(cpus)


# The image


def instructions(word):
    return re.findall(rf"^{word} (.*)", DOCKERFILE, flags=re.M)


def test_everything_that_is_copied_exists_and_is_let_in():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    copied = [
        source
        for line in instructions("COPY")
        for source in [word for word in line.split() if not word.startswith("--")][:-1]
    ]
    assert "requirements.lock" in copied
    assert "*" in lines, "nothing else gets in"
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / source).exists() for source in copied)


def test_the_package_brings_every_file_that_it_reads():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["emoray"]
    package = ROOT / "emoray"
    read = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    ]
    assert "compose/emotion_map.json" in read
    lost = [name for name in read if not any(fnmatch(name, one.replace("**/", "*")) for one in patterns)]
    assert not lost, "an image installs the package, not the clone"


def test_the_image_runs_as_nobody_special_and_says_whether_it_is_well():
    assert instructions("USER") == ["1000"]
    [check] = instructions("HEALTHCHECK")
    assert "/healthz" in check
    assert f":{HttpSettings().port}/" in check


def test_weights_are_fetched_only_if_their_hash_is_pinned():
    [line] = [line for line in instructions("RUN") if "weights fetch" in line]
    assert '--sha256 "$DEEPFACE_SHA256"' in line
    assert instructions("ARG") == ["PIP_EXTRA_INDEX_URL=", "DEEPFACE_SHA256="]


# All files


def test_versions_are_those_of_the_lock_file_and_of_the_package():
    ray = LOCKED["ray"]
    assert instructions("FROM") == [f"rayproject/ray:{ray}-py311-cpu"]
    image = f"emoray:{PROJECT['project']['version']}"
    for name in KUBERAY:
        assert cluster_of(name)["rayVersion"] == ray
        assert {container["image"] for container in containers(name)} == {image}
    assert image in DOCKERFILE


@each_file
def test_no_file_opens_the_dashboard(path):
    hosts = re.findall(r"dashboard-host[=:]\s*['\"]?([^\s'\"]*)", path.read_text())
    assert set(hosts) <= {"127.0.0.1"}


@each_file
def test_no_file_holds_a_secret(path):
    text = path.read_text()
    assert not re.search(r"[0-9a-fA-F]{32}|[A-Za-z0-9+_-]{40}|AKIA[0-9A-Z]{8}|gh[pos]_|-----BEGIN", text)
    assert not re.search(r"kind: Secret\b|stringData", text)
    named = re.findall(r"(?i)\w*(?:token|password|secret)\w*\s*[=:]\s*(\S.*)", text)
    harmless = re.compile(
        r"token\b|/shared/\.ray-token\b|\"?\$\(|\{secretKeyRef|emoray-token\b|\{name: emoray-token"
    )
    assert [value for value in named if not harmless.match(value)] == []


def commands(path):
    """Every command of ours in a file, as words: in a document its code, elsewhere comments as well."""
    text = path.read_text().replace("\\\n", " ")
    if path.suffix == ".md":
        text = "\n".join(re.findall(r"^\$ .*|`[^`\n]+`", text, flags=re.M)).replace("`", "\n")
    for line in re.findall(r"(?<![\w./-])emoray (?!emoray)([a-z].*)", text):
        yield shlex.split(re.split(r"[;|&#]", line)[0])
    for line in re.findall(r'^CMD (\["emoray".*\])', text, flags=re.M):
        yield json.loads(line)[1:]


COMMANDS = [(path.name, words) for path in FILES for words in commands(path)]


def test_commands_are_found():
    found = {(name, words[0]) for name, words in COMMANDS}
    assert found >= {
        ("rayjob.yaml", "batch"),
        ("rayjob.yaml", "train"),
        ("Dockerfile", "serve"),
        ("Dockerfile", "doctor"),
        ("Dockerfile", "weights"),
        ("README.md", "batch"),
    }


@pytest.mark.parametrize(("name", "words"), COMMANDS, ids=lambda value: str(value)[:60])
def test_the_command_line_understands_every_command(name, words):
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        step, *words = words
        command = command.commands[step]
    assert command.make_context(command.name, words).command is command  # it raises on what it does not know
