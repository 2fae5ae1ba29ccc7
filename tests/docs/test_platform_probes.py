"""What the pods of docs/platform/raycluster.yaml are probed by is there in a worker image of the locked layers."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_fixtures import Cluster, own_folders
from worker_environments import WorkerEnvironment, make_environment

__all__ = ["own_folders"]

pytestmark = pytest.mark.soak  # an environment is made and a Ray started

NAMES = ("port", "node-manager-port", "ray-client-server-port")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> WorkerEnvironment:
    return make_environment(tmp_path_factory.mktemp("images") / "worker", backend="ray")


@pytest.fixture(scope="module")
def ports(own_folders: Path, image: WorkerEnvironment) -> Iterator[dict[str, int]]:
    """The ports of a head that runs in the image, as the operator starts one."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
    ports = {name: one.getsockname()[1] for name, one in zip(NAMES, sockets, strict=True)}
    for one in sockets:
        one.close()
    folder = Path(tempfile.mkdtemp(prefix="head-", dir=own_folders))
    variables = image.variables(RAY_TMPDIR=str(folder), RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="a" * 64)
    address = ("--node-ip-address=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0")
    options = (f"--{name}={port}" for name, port in ports.items())
    with (folder / "log").open("wb") as log:
        head = subprocess.Popen(
            [image.ray, "start", "--head", "--num-cpus=0", "--block", "--disable-usage-stats", *address, *options],
            env=variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while b"Ray runtime started" not in (folder / "log").read_bytes():
            assert head.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "the head did not start"
            time.sleep(0.1)
        yield ports
        command = [image.ray, "health-check", f"--address=127.0.0.1:{ports['port']}"]
        assert subprocess.run(command, env=variables, check=False).returncode == 0, "what workers wait for"
    finally:
        Cluster(folder).kill(head)


def listening(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("name", ["port", "node-manager-port"])
def test_what_the_probes_of_the_manifest_ask_answers(ports: dict[str, int], name: str) -> None:
    deadline = time.monotonic() + 30
    while not listening(ports[name]):
        assert time.monotonic() < deadline, f"{name} is not open"
        time.sleep(0.1)


def test_what_the_operators_own_probes_ask_is_not_there(image: WorkerEnvironment) -> None:
    """If it ever is, the manifest needs no probes of its own."""
    program = "import json, ray._private.utils as utils; print(json.dumps(str(utils.get_dashboard_dependency_error())))"
    assert "No module named" in image.run(program), "with it, Ray would start the agent that answers them"


def test_the_autoscaler_beside_the_head_starts_from_the_same_image(image: WorkerEnvironment) -> None:
    output = subprocess.run(
        [image.ray, "kuberay-autoscaler", "--help"], env=image.variables(), capture_output=True, text=True, check=True
    ).stdout
    assert "--cluster-namespace" in output
    assert image.run("import json, ray.autoscaler._private.kuberay.run_autoscaler as one; print(json.dumps(bool(one)))")
