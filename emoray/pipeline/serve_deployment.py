"""Serve deployment: the application deployed for a batch, behind HTTP or from a Serve config file.

Conventions
-----------
The caller has started or joined Ray. A batch opens no port: its application has no route, and if it is the
first on the cluster, Serve runs without a proxy. An error here stops the command before its first request.

Where others start Serve (KubeRay, ``serve deploy``) the config file says ``import_path:
emoray.pipeline.serve_deployment:app``. Serve reads where to listen from the file's ``http_options`` and tells
an application nothing of it, so the file says it twice, there and in ``args``. A file without a host listens
on all interfaces; ``args`` without one are taken to mean the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve.config import HTTPOptions

from emoray.config import from_fields
from emoray.errors import ClusterError, ConfigError
from emoray.pipeline.failures import transient_errors
from emoray.pipeline.resources import report_waits
from emoray.pipeline.serve_application import application
from emoray.pipeline.worker import LOADERS, Loaders
from emoray.web.guards import check_host, check_port
from emoray.web.settings import HttpSettings, ServeSettings, environment_token

log = logging.getLogger(__name__)

UPLOAD = 60.0
"""Seconds a request may take beyond its answer, to send its files."""
Handle = Any
"""A Serve handle whose ``generate.remote(request)`` gives a ``Result``; it survives pickling."""
STAGES = ("face", "seed", "composer", "ingress")
"""The deployments of the application; settings start with these words."""


def cpus_needed(settings: ServeSettings) -> float:
    """CPUs that the replicas take from the cluster; Serve's own controller and proxy take none.

    >>> cpus_needed(ServeSettings())
    0.6
    """
    return round(sum(_stage_cpus(settings).values()), 4)


def _replica_cpus(settings: ServeSettings) -> dict[str, float]:
    return {stage: getattr(settings, f"{stage}_cpus") for stage in STAGES}


def _stage_cpus(settings: ServeSettings) -> dict[str, float]:
    """CPUs of all replicas of each stage."""
    cpus = _replica_cpus(settings)
    return {stage: cpus[stage] * getattr(settings, f"{stage}_replicas") for stage in STAGES}


def check_cpus(settings: ServeSettings, *, beside: float = 0.0) -> None:
    """Refuse what would wait for ever: Ray starts no replica that has no room, and says nothing.

    Args:
        settings: what will be deployed.
        beside: CPUs that something else needs at the same time, a Ray Data job for instance.

    Raises:
        ClusterError: the cluster has fewer CPUs.
    """
    have = float(ray.cluster_resources().get("CPU", 0))
    need = cpus_needed(settings) + beside
    if need > have:
        cpus = _stage_cpus(settings)
        most = max(STAGES, key=cpus.__getitem__)
        flag = f"{most}_replicas" if getattr(settings, f"{most}_replicas") > 1 else f"{most}_cpus"
        raise ClusterError("cluster", f"has {have:g} CPUs, this needs {need:g}; lower {flag}, or add a node")


def deploy(
    settings: ServeSettings, *, http: HttpSettings | None = None, loaders: Loaders = LOADERS
) -> Handle:
    """Deploy the application and wait until it runs; an application of the same name is replaced.

    Args:
        settings: replicas and what they load.
        http: where to listen; None opens no port.
        loaders: what the replicas load.

    Raises:
        ClusterError: a replica cannot start, the cluster is too small, or Serve already runs on it with
            other HTTP settings.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # the caller reports progress
    check_cpus(settings)
    if settings.checkpoint is not None:  # a replica works in another folder
        settings = replace(settings, checkpoint=settings.checkpoint.absolute())
    if http is None:
        serve.start(proxy_location="Disabled")  # a Serve that already runs keeps its proxy
    else:
        _start_proxy(http)
    try:
        with report_waits(
            f"serve: {settings.app}", *({"CPU": cpus} for cpus in _replica_cpus(settings).values())
        ):
            return serve.run(
                application(settings, http, loaders),
                name=settings.app,
                route_prefix=None if http is None else "/",
            )
    except RuntimeError as err:  # Serve's only word for any failure
        reason = _cause(_deployment_messages(settings.app) or str(err))
        delete(settings.app)
        raise ClusterError(settings.app, f"could not be deployed: {reason}") from err
    except KeyboardInterrupt:
        delete(settings.app)
        raise


def handle_of(app: str) -> Handle:
    """The handle of an application that is deployed, from any process of the cluster.

    Raises:
        ClusterError: there is none of that name.
    """
    try:
        return serve.get_app_handle(app)
    except serve.exceptions.RayServeException as err:
        raise ClusterError(app, "is not deployed on this cluster; deploy it first") from err


def close(handle: Handle, timeout: float) -> None:
    """Have an application take no more requests, and wait so many seconds for those under way."""
    with contextlib.suppress(*transient_errors()):  # a replica that is gone has nothing under way
        handle.broadcast("close").results(timeout_s=timeout)


def delete(app: str) -> None:
    """Take one application down; with the last one Serve itself, so that the next may listen elsewhere.

    A Ray of our own ends with the command, and Serve with it: no need to end it twice.
    """
    applications = serve.status().applications
    if app in applications:
        serve.delete(app)
    if not applications.keys() - {app} and "RAY_ADDRESS" in os.environ:
        serve.shutdown()


def serve_http(
    settings: ServeSettings,
    http: HttpSettings,
    *,
    ready: Callable[[str], None] = log.info,
    loaders: Loaders = LOADERS,
) -> None:
    """Answer HTTP until Ctrl-C, then let the requests under way finish and stop.

    Args:
        settings: replicas and what they load.
        http: where to listen.
        ready: is called with the address once requests are taken.
        loaders: what the replicas load.

    Raises:
        ConfigError: the host lets other machines in and there is no token, or the port is in use.
        ClusterError: see ``deploy``.
    """
    handle = deploy(settings, http=http, loaders=loaders)
    try:
        host = f"[{http.host}]" if ":" in http.host else http.host
        ready(f"http://{host}:{http.port}")
        threading.Event().wait()
    except KeyboardInterrupt:
        close(handle, http.timeout)
    finally:
        delete(settings.app)


def _start_proxy(http: HttpSettings) -> None:
    """Start Serve with its proxy. Serve ignores the settings of a second start, so this refuses one."""
    check_host(http.host, http.token)
    if serve.status().proxies:
        raise ClusterError(
            "serve", "already answers HTTP on this cluster; end it first: serve shutdown --yes"
        )
    check_port(http.host, http.port)
    options = HTTPOptions(host=http.host, port=http.port, request_timeout_s=http.timeout + UPLOAD)
    serve.start(proxy_location="HeadOnly", http_options=options)
    if not serve.status().proxies:
        raise ClusterError("serve", "already runs on this cluster for batches; wait until they have ended")


def _deployment_messages(app: str) -> str:
    """Serve's message on each deployment of an application: a traceback, if a replica cannot start."""
    stages = serve.status().applications[app].deployments.values()
    return "\n".join(stage.message for stage in stages if stage.message)


def _cause(text: str) -> str:
    r"""The line that matters in a replica's traceback: our own error if it is one.

    >>> _cause("failed:\n  File ...\nemoray.errors.CheckpointError: runs/x: is damaged; train it again\n\n")
    'runs/x: is damaged; train it again'
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    ours = [line.partition(": ")[2] for line in lines if line.startswith("emoray.errors.")]
    return (ours or lines)[-1]


ALL_INTERFACES = "0.0.0.0"
"""Where Serve listens if a config file does not say."""
_HTTP_FIELDS = {field.name for field in dataclasses.fields(HttpSettings)}


def app(args: dict[str, Any]) -> serve.Application:
    """The application with an HTTP ingress; Serve calls this on the cluster.

    Args:
        args: fields of ``HttpSettings`` and ``ServeSettings``; the token comes from EMORAY_TOKEN instead, and
            the application's name from the file.

    Raises:
        ConfigError: a field is unknown or refused, or other machines are let in and there is no token.
    """
    for name, remedy in {"token": "set EMORAY_TOKEN", "app": "set the application's name"}.items():
        if name in args:
            raise ConfigError(f"args.{name}", f"does not belong there; {remedy} instead")
    given = {"host": ALL_INTERFACES} | {name: value for name, value in args.items() if name in _HTTP_FIELDS}
    http = from_fields(HttpSettings, given | {"token": environment_token()}, subject="args")
    check_host(http.host, http.token)
    stages = {name: value for name, value in args.items() if name not in _HTTP_FIELDS}
    if stages.get("checkpoint") is not None:
        stages["checkpoint"] = Path(stages["checkpoint"])
    return application(from_fields(ServeSettings, stages, subject="args"), http, LOADERS)
