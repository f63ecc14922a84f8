"""Service: the application for a Serve config file, where others start Serve: KubeRay, ``serve deploy``.

Conventions
-----------
``import_path: emoray.pipeline.service:app``. Serve reads where to listen from the file's ``http_options`` and
tells an application nothing of it, so the file says it twice, there and in ``args``. A file without a host
listens everywhere; ``args`` without one are taken to mean the same.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ray import serve

from emoray.config import from_fields
from emoray.errors import ConfigError
from emoray.pipeline.deployments import application
from emoray.pipeline.stages import LOADERS
from emoray.web.guards import check_host
from emoray.web.settings import HttpSettings, ServeSettings, environment_token

EVERYWHERE = "0.0.0.0"
"""Where Serve listens if a config file does not say."""
_DOOR = {field.name for field in dataclasses.fields(HttpSettings)}


def app(args: dict[str, Any]) -> serve.Application:
    """The application with its door; Serve calls this on the cluster.

    Args:
        args: fields of ``HttpSettings`` and ``ServeSettings``; the token comes from EMORAY_TOKEN instead, and
            the application's name from the file.

    Raises:
        ConfigError: a field is unknown or refused, or other machines are let in and there is no token.
    """
    for name, remedy in {"token": "set EMORAY_TOKEN", "app": "set the application's name"}.items():
        if name in args:
            raise ConfigError(f"args.{name}", f"does not belong there; {remedy} instead")
    door = {"host": EVERYWHERE} | {name: value for name, value in args.items() if name in _DOOR}
    http = from_fields(HttpSettings, door | {"token": environment_token()}, subject="args")
    check_host(http.host, http.token)
    stages = {name: value for name, value in args.items() if name not in _DOOR}
    if stages.get("checkpoint") is not None:
        stages["checkpoint"] = Path(stages["checkpoint"])
    return application(from_fields(ServeSettings, stages, subject="args"), http, LOADERS)
