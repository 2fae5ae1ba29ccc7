"""Which cluster it is, whether a recorded one has gone, and how a second process joins a local one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_fixtures import Cluster

from checkmaite_core.errors import ClusterAuthenticationError
from checkmaite_ray.identity import is_gone, local_cluster_of, token_file_of
from checkmaite_ray_simple.address import resolve
from checkmaite_ray_simple.probe import probe

_OWNER = """
import json, sys
from checkmaite_ray_simple import connection, environment
environment.prepare()
from checkmaite_ray_simple.settings import RaySimpleOptions
import ray
held = connection.acquire(RaySimpleOptions(address="local", num_cpus=1))
from checkmaite_ray.identity import cluster_identity
print(json.dumps(ray.get(ray.remote(num_cpus=0)(lambda: cluster_identity().as_json()).remote())), flush=True)
sys.stdin.readline()
connection.release(held)
"""
_GUEST = """
import json, sys
from checkmaite_ray_simple import connection, environment
environment.prepare()
from checkmaite_ray.identity import cluster_identity, local_cluster_of, token_file_of
from checkmaite_ray_simple.settings import RaySimpleOptions
recorded = json.loads(sys.argv[1])
address = local_cluster_of(recorded)
held = connection.acquire(RaySimpleOptions(address=address), token_file=token_file_of(recorded))
import ray
print(ray.get(ray.remote(num_cpus=0)(lambda: cluster_identity().cluster_id).remote()))
connection.release(held)
"""


class Local:
    """A local Ray of another process.

    Attributes:
        recorded: Its identity, as a registry would record it.
        process: Who started it.
    """

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
        )
        assert self.process.stdout is not None
        self.recorded: dict[str, Any] = json.loads(self.process.stdout.readline())

    def leave(self) -> None:
        self.process.communicate("\n")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}


@pytest.fixture(scope="module")
def owner(own_folders: Path) -> Iterator[Local]:
    local = Local()
    yield local
    if local.process.poll() is None:
        local.leave()


@contextlib.contextmanager
def _listener() -> Iterator[int]:
    """Something that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_second_process_joins_a_local_ray_with_nothing_configured(owner: Local) -> None:
    guest = subprocess.run(
        [sys.executable, "-c", _GUEST, json.dumps(owner.recorded)],
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert guest.stdout.split()[-1] == owner.recorded["cluster_id"]


def test_the_token_of_a_local_ray_is_in_its_users_file_and_not_in_its_record(owner: Local) -> None:
    file = Path(token_file_of(owner.recorded))
    token = file.read_text()
    assert len(token) == 64
    assert token not in json.dumps(owner.recorded)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_local_ray_refuses_those_without_its_token(owner: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with pytest.raises(ClusterAuthenticationError):
        probe(resolve(owner.recorded["address"]))


def test_a_record_cannot_make_a_process_read_or_send_other_files(owner: Local, tmp_path: Path) -> None:
    secret = tmp_path / "ray-0123456789abcdef.token"
    secret.write_text("secret")
    secret.chmod(0o600)
    assert token_file_of({**owner.recorded, "token_file": str(secret)}) == ""
    linked = Path(owner.recorded["token_file"]).with_name("ray-0123456789abcdef.token")
    linked.symlink_to(secret)
    assert token_file_of({**owner.recorded, "token_file": str(linked)}) == ""
    linked.unlink()


def test_a_cluster_that_answers_is_alive(owner: Local) -> None:
    verdict = is_gone(owner.recorded)
    assert (verdict.alive, verdict.gone) == (True, False), verdict.reason


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"cluster_id": "0" * 56}, "another cluster answers at its address"),
        ({"address": "127.0.0.1:1"}, "nothing listens at its address"),
    ],
)
def test_a_cluster_whose_address_is_anothers_or_nobodys_has_gone(
    owner: Local, change: dict[str, str], why: str
) -> None:
    verdict = is_gone({**owner.recorded, **change})
    assert (verdict.alive, verdict.gone) == (False, True), verdict.reason
    assert why in verdict.reason


def test_a_cluster_of_an_earlier_boot_of_this_machine_has_gone(owner: Local) -> None:
    with _listener() as port:
        verdict = is_gone({**owner.recorded, "boot_id": "earlier", "address": f"127.0.0.1:{port}"})
    assert verdict.gone, verdict.reason
    assert "restarted" in verdict.reason


def test_a_local_ray_whose_creator_has_ended_has_gone_even_if_its_address_is_silent(owner: Local) -> None:
    with _listener() as port:
        silent = {**owner.recorded, "address": f"127.0.0.1:{port}"}
        running = is_gone(silent)
        ended = is_gone({**silent, "creator": f"{owner.process.pid}:1"})
    assert (running.alive, running.gone) == (False, False), running.reason
    assert ended.gone, ended.reason
    assert "has ended" in ended.reason


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"boot_id": "b", "host": "another", "address": "127.0.0.1:1"}, "counts only on another"),
        ({"address": "192.0.2.123:6379", "creator": ""}, "does not answer"),
        ({"address": "gone away"}, "no usable address"),
        ({"address": None, "host": 5, "token_file": {}}, "no usable address"),
    ],
)
def test_what_cannot_be_known_is_said_to_be_unknown(owner: Local, change: dict[str, Any], why: str) -> None:
    begun = time.monotonic()
    verdict = is_gone({**owner.recorded, **change})
    assert time.monotonic() - begun < 3
    assert (verdict.alive, verdict.gone) == (False, False)
    assert why in verdict.reason


def test_a_cluster_of_another_machine_is_never_shown_a_token(owner: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str | None] = []
    monkeypatch.setattr("checkmaite_ray.identity.cluster_id", lambda target, token, deadline: shown.append(token) or "")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    is_gone({**owner.recorded, "boot_id": "another"})
    is_gone({**owner.recorded, "address": "192.0.2.123:6379"})
    is_gone(owner.recorded)
    assert shown[:2] == ["", ""]
    assert len(shown[2] or "") == 64


def test_a_cluster_of_ray_start_is_known_by_its_head_and_is_not_joined_as_local(cluster: Cluster) -> None:
    code = _GUEST.partition("recorded =")[0] + (
        "held = connection.acquire(RaySimpleOptions(address=sys.argv[1]))\n"
        "print(json.dumps(cluster_identity().as_json()))\nconnection.release(held)\n"
    )
    found = [
        json.loads(subprocess.run([sys.executable, "-c", code, at], capture_output=True, text=True, check=True).stdout)
        for at in (cluster.address, cluster.client_address)
    ]
    assert found[0]["cluster_id"] == found[1]["cluster_id"]
    assert found[0]["boot_id"]
    assert not found[0]["token_file"]
    assert not found[1]["boot_id"], "this process knows nothing of a cluster's machine over ray://"
    assert is_gone(found[0]).alive
    assert local_cluster_of(found[0]) is None


def test_a_local_ray_is_gone_with_its_creator_and_its_token_too(owner: Local, until: Callable[..., Any]) -> None:
    file = Path(owner.recorded["token_file"])
    owner.leave()
    assert not file.exists()
    assert local_cluster_of(owner.recorded) is None
    assert is_gone(owner.recorded).gone
    killed = Local()
    killed.process.send_signal(signal.SIGKILL)
    killed.process.communicate()
    until(lambda: is_gone(killed.recorded).gone, "the Ray of a killed process ends")
    Path(killed.recorded["token_file"]).unlink()
