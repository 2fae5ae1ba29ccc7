"""Ray's token authentication, on and off, through both backends and each form of address."""

from __future__ import annotations

import secrets
import tempfile
import time
from pathlib import Path

import pytest
import ray
from ray_fixtures import Cluster

from checkmaite_core import ClusterAuthenticationError, JobStatus, configure_job_backend

KNOWN_WITHIN = 2.0
"""Seconds in which a missing or wrong token is to be known. Ray itself takes twenty, or thirty over ray://."""
KINDS = ["ray", "ray-simple"]
ADDRESSES = ["address", "client_address"]
WAYS = [("ray", "address"), ("ray-simple", "client_address")]


class OpenCluster(Cluster):
    """A Ray that asks nobody for a token."""

    @property
    def environment(self):
        return {**super().environment, "RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": ""}


@pytest.fixture(scope="module")
def rays(own_folders):
    """Two Rays: one that wants a token, and one that does not."""
    guarded = Cluster(Path(tempfile.mkdtemp(prefix="guarded-", dir=own_folders)))
    unguarded = OpenCluster(Path(tempfile.mkdtemp(prefix="open-", dir=own_folders)))
    try:
        guarded.start_head(cpus=1)
        unguarded.start_head(cpus=1)
        yield {"guarded": guarded, "open": unguarded}
    finally:
        guarded.stop()
        unguarded.stop()


@pytest.fixture
def connect(rays, scope, store):
    """Open backends, and leave none behind."""
    opened = []

    def connect(which, kind, address):
        options = {"idempotency_scope": scope} if kind == "ray" else {}
        where = getattr(rays[which], address)
        opened.append(configure_job_backend(kind, analytics_store=store, address=where, **options))
        return opened[-1]

    yield connect
    for backend in opened:
        backend.shutdown(wait=False)
    assert not ray.is_initialized()


@pytest.fixture
def show(monkeypatch, tmp_path):
    """Have this process show a token: from a variable, from a file, or none."""

    def show(mode, *, token=None, file=None):
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            monkeypatch.delenv(name, raising=False)
        if mode:
            monkeypatch.setenv("RAY_AUTH_MODE", mode)
        if token:
            monkeypatch.setenv("RAY_AUTH_TOKEN", token)
        if file:
            (tmp_path / "token").write_text(f"{file}\n")
            monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))

    return show


def refused(connect, kind, address):
    begun = time.monotonic()
    with pytest.raises(ClusterAuthenticationError) as caught:
        connect("guarded", kind, address)
    assert time.monotonic() - begun < KNOWN_WITHIN
    return str(caught.value)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_token_is_known_at_once_and_a_wrong_one_too(connect, show, kind, address):
    show("")
    assert "or the lack of one" in refused(connect, kind, address)
    show("disabled")
    assert "Set RAY_AUTH_MODE=token" in refused(connect, kind, address)
    wrong = secrets.token_hex(32)
    show("token", token=wrong)
    message = refused(connect, kind, address)
    assert "`ray get-auth-token` on its head node prints it" in message
    assert wrong not in message


@pytest.mark.parametrize(("kind", "address"), WAYS)
def test_the_right_token_lets_in_from_a_file_and_after_a_wrong_one(rays, connect, show, work, kind, address):
    show("token", token=secrets.token_hex(32))
    refused(connect, kind, address)
    show("token", file=rays["guarded"].token)
    assert connect("guarded", kind, address).submit(work(lambda: 1)).wait(60) is JobStatus.COMPLETED


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(None, id="none", marks=pytest.mark.soak),
        pytest.param(secrets.token_hex(32), id="another cluster's"),
    ],
)
@pytest.mark.parametrize(("kind", "address"), WAYS)
def test_where_no_token_is_asked_for_one_does_no_harm(connect, show, work, kind, address, token):
    show("token" if token else "disabled", token=token)
    assert connect("open", kind, address).submit(work(lambda: 1), force=True).wait(60) is JobStatus.COMPLETED
