import socket

import pytest

from emoray.cli import shared
from emoray.errors import ClusterError


@pytest.mark.parametrize(
    ("seconds", "address", "local", "started"),
    [
        (1.0, None, False, False),
        (100.0, None, False, True),
        (1.0, "ray://cluster", False, True),  # files may be where only the cluster sees them
        (1.0, "ray://cluster", True, False),
        (100.0, "ray://cluster", True, True),
    ],
)
def test_ray_starts_for_large_work_and_where_a_cluster_is_named(
    monkeypatch, seconds, address, local, started
):
    starts = []
    monkeypatch.setattr(shared, "start_ray", lambda *, local: starts.append(local))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    shared.start_ray_for(seconds, local=local)
    assert starts == [local] * started


def test_a_cluster_that_does_not_answer_is_one_line_before_ray_would_wait_for_it(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", gone)
    with pytest.raises(ClusterError, match=f"{gone}: does not answer; .* check RAY_ADDRESS or use --local"):
        shared.start_ray()
