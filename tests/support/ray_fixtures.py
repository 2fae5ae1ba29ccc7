"""Real Rays for the tests of both Ray backends: clusters of `ray start` processes, and work to run on them."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle

from checkmaite_core import Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun, Record

RAY = Path(sys.executable).with_name("ray")
PATIENCE = 60.0


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
        """Wait for something outside this process to become true, and return it."""
        deadline = time.monotonic() + patience
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what}: not within {patience} s"
            time.sleep(0.02)
        return found

    return until


@pytest.fixture(scope="session", autouse=True)
def own_folders() -> Iterator[Path]:
    """A home and a folder for Ray that no other Ray shares; short, because Ray puts sockets there."""
    folder = Path(tempfile.mkdtemp(prefix="cmr-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.delenv("RAY_ADDRESS", raising=False)
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def travelling_code(request: pytest.FixtureRequest) -> Iterator[None]:
    """Send a test module's functions with the work: workers cannot import it."""
    cloudpickle.register_pickle_by_value(request.module)
    yield
    cloudpickle.unregister_pickle_by_value(request.module)


@pytest.fixture(scope="session")
def work() -> Callable[..., Capability[Any, Any]]:
    """Make a capability out of a function; what it returns goes into one row of the table ``answers``."""

    # Classes made in here travel with the work, as those of a notebook do.
    class Answer(Record, table_name="answers"):
        answer: str

    class Outputs(CapabilityOutputs):
        answer: str

    class Run(CapabilityRun[CapabilityConfig, Outputs]):
        def extract(self) -> list[Answer]:
            return [Answer(run_uid=self.run_uid, answer=self.outputs.answer)]

    class Work(Capability[CapabilityConfig, Outputs]):
        config_class = CapabilityConfig
        run_class = Run

        def __init__(self, function: Callable[[], Any], name: str) -> None:
            self.function = function
            self.id = f"test.{name}"

        def evaluate(self, inputs: Any, config: CapabilityConfig) -> Outputs:
            return Outputs(answer=str(self.function()))

    return lambda function, name="work": Work(function, name)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _listening(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _runs(process: Any) -> bool:
    """Whether a process (psutil's) has not ended."""
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@dataclass
class Cluster:
    """A Ray of its own processes.

    Attributes:
        folder: Where it keeps its files.
        address: Of its GCS port.
        client_address: Of its client port.
        token: What it wants to be shown.
    """

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    address: str = ""
    client_address: str = ""
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_TMPDIR": str(self.folder),
            # Otherwise the servers that Ray forks for ray:// clients crash now and then; see connection.py.
            "GRPC_ENABLE_FORK_SUPPORT": "0",
            # Otherwise a head that was started under `uv run` gives ray:// clients a runtime_env of its own.
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        }

    def start_head(self, *, cpus: int = 2, ray: Path = RAY) -> None:
        """Start the head, out of the environment that the ``ray`` command belongs to."""
        gcs, client = _free_ports(2)
        self._start(
            ray,
            *("--head", f"--port={gcs}", f"--ray-client-server-port={client}", "--include-dashboard=false"),
            *(f"--num-cpus={cpus}", "--node-ip-address=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0"),
        )
        self.address, self.client_address = f"127.0.0.1:{gcs}", f"ray://127.0.0.1:{client}"
        deadline = time.monotonic() + PATIENCE
        while not _listening(client):  # the client server comes up after the head says that it has started
            assert time.monotonic() < deadline, "the client port did not open"
            time.sleep(0.05)

    def add_node(self, *, cpus: int = 1, resources: str = "{}", ray: Path = RAY) -> subprocess.Popen[bytes]:
        return self._start(
            ray,
            *(f"--address={self.address}", f"--num-cpus={cpus}", f"--resources={resources}"),
            *("--node-ip-address=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0"),
        )

    def _start(self, ray: Path, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"node-{len(self._processes)}.log").open("wb")
        # A session of its own, and --block, so that the node ends when this process is told to.
        process = subprocess.Popen(
            [str(ray), "start", "--block", "--disable-usage-stats", *arguments],
            env={**os.environ, **self.environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes.append(process)
        deadline = time.monotonic() + PATIENCE
        while b"Ray runtime started" not in Path(log.name).read_bytes():
            assert process.poll() is None, Path(log.name).read_text()
            assert time.monotonic() < deadline, "a node did not start"
            time.sleep(0.1)
        log.close()
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a node at once, with all that runs on it, as a power cut does."""
        assert ray.__version__  # importing Ray makes the psutil that it carries importable
        import psutil

        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in family:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait()
        deadline = time.monotonic() + PATIENCE
        # One that is dead is a zombie until init looks, which takes some inits seconds, and does nothing any more.
        while any(_runs(one) for one in family):
            assert time.monotonic() < deadline, "a killed process of Ray goes on"
            time.sleep(0.01)

    def stop(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                self.kill(process)


@pytest.fixture(scope="module")
def cluster(own_folders: Path) -> Iterator[Cluster]:
    """A head with two CPUs, guarded by a token that this process has in its environment."""
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="head-", dir=own_folders)))
    with pytest.MonkeyPatch.context() as patch:
        try:
            cluster.start_head()
            for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
                patch.setenv(name, cluster.environment[name])
            yield cluster
        finally:
            cluster.stop()
