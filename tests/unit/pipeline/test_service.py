"""Service: what a Serve config file gets; the application is built, and nothing is started."""

from __future__ import annotations

import pytest
from ray import serve

from emoray.errors import ConfigError
from emoray.pipeline.serve_deployment import app
from emoray.web.settings import HttpSettings, ServeSettings

pytestmark = pytest.mark.filterwarnings("ignore")  # Serve's

TOKEN = "a token nobody guesses"


@pytest.fixture
def _token(monkeypatch):
    monkeypatch.setenv("EMORAY_TOKEN", TOKEN)


@pytest.fixture
def _no_token(monkeypatch):
    monkeypatch.delenv("EMORAY_TOKEN", raising=False)


def built(args):
    """(door's settings, stages' settings) of the application that was built."""
    bound = app(args)
    assert isinstance(bound, serve.Application)
    *stages, http = bound._bound_deployment.init_args  # Serve offers no other look into an application
    return http, stages[0]._bound_deployment.init_args[0]


@pytest.mark.usefixtures("_token")
def test_args_become_settings_and_the_token_comes_from_the_environment():
    http, stages = built({"host": "0.0.0.0", "port": 8123, "composer_replicas": 3})
    assert http == HttpSettings(host="0.0.0.0", port=8123, token=TOKEN)
    assert stages == ServeSettings(composer_replicas=3)


@pytest.mark.usefixtures("_token")
def test_a_checkpoint_is_a_path_of_every_node():
    _, stages = built({"checkpoint": "/shared/runs/baseline"})
    assert stages.checkpoint is not None
    assert stages.checkpoint.name == "baseline"


@pytest.mark.usefixtures("_no_token")
@pytest.mark.parametrize("args", [{"host": "0.0.0.0"}, {"host": "192.0.2.1"}, {"host": ""}, {}])
def test_without_a_token_nothing_is_built_that_others_can_reach(args):
    with pytest.raises(ConfigError, match="lets other machines in; set a token"):
        app(args)


def test_an_empty_token_is_none(monkeypatch):
    monkeypatch.setenv("EMORAY_TOKEN", "")
    with pytest.raises(ConfigError, match="set a token"):
        app({"host": "0.0.0.0"})


@pytest.mark.usefixtures("_no_token")
def test_loopback_needs_no_token():
    http, _ = built({"host": "127.0.0.1"})
    assert http == HttpSettings()


@pytest.mark.usefixtures("_token")
@pytest.mark.parametrize(("name", "remedy"), [("token", "EMORAY_TOKEN"), ("app", "application's name")])
def test_what_belongs_elsewhere_is_refused_with_its_place(name, remedy):
    with pytest.raises(ConfigError, match=f"args.{name}: does not belong there; set .*{remedy}") as refused:
        app({"host": "127.0.0.1", name: "a secret in a file"})
    assert "a secret" not in str(refused.value)


@pytest.mark.usefixtures("_token")
@pytest.mark.parametrize("args", [{"composer_replica": 2}, {"composer_replicas": 0}, {"port": 0}])
def test_a_mistake_in_the_args_is_refused(args):
    with pytest.raises(ConfigError):
        app({"host": "127.0.0.1", **args})
