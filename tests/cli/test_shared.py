import pytest

from emoray.cli import shared


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
