"""Real servers for Azure and GCS, started here."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from checkmaite_storage.testing import FaultProxy, fault_proxy

AZURITE = "azurite@3.35.0"
ACCOUNT = "devstoreaccount1"
# Azurite's own, which its documentation publishes.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Azure:
    """An azurite that runs."""

    port: int

    def connection(self, *, url: str = "", key: str = ACCOUNT_KEY, sas: str = "") -> dict[str, str]:
        """``storage_options`` for it; ``url`` is of what stands in front of it."""
        secret = f"SharedAccessSignature={sas}" if sas else f"AccountName={ACCOUNT};AccountKey={key}"
        return {
            "connection_string": f"DefaultEndpointsProtocol=http;{secret};"
            f"BlobEndpoint={url or f'http://127.0.0.1:{self.port}'}/{ACCOUNT};"
        }

    def sas(self, container: str, rights: str) -> str:
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        until = datetime.now(UTC) + timedelta(hours=1)
        return generate_container_sas(
            ACCOUNT,
            container,
            account_key=ACCOUNT_KEY,
            permission=ContainerSasPermissions.from_string(rights),
            expiry=until,
        )

    def make_container(self) -> str:
        from azure.storage.blob import BlobServiceClient

        name = f"con-{uuid.uuid4().hex}"
        with BlobServiceClient.from_connection_string(self.connection()["connection_string"]) as service:
            service.create_container(name)
        return name


def azurite_program() -> Path:
    """Installed from npm into the user's cache, once per machine; skips where there is no node."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("NOT TESTED ON AZURE: azurite needs node and npm, which are not on PATH")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "checkmaite-tests"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / AZURITE
    program = folder / "node_modules" / ".bin" / "azurite-blob"
    with (cache / f"{AZURITE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", AZURITE]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.fail(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
            (folder / "complete").touch()
    return program


@contextlib.contextmanager
def running(command: list[str], folder: Path, ready: Callable[[str], int | None]) -> Iterator[int]:
    """Run a server until the block ends; ``ready`` finds its port in what it has printed."""
    output = folder / "output"
    with output.open("w") as stream, subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream) as process:
        try:
            end = time.monotonic() + 60
            while (port := ready(output.read_text())) is None:
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"{' '.join(command)} did not start:\n{output.read_text()}")
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    def ready(printed: str) -> int | None:
        found = re.search(r"successfully listens on http://127\.0\.0\.1:(\d+)", printed)
        return int(found[1]) if found else None

    options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry"]
    command = [str(azurite_program()), *options, "--skipApiVersionCheck"]
    with running(command, tmp_path_factory.mktemp("azurite"), ready) as port:
        yield Azure(port)


@pytest.fixture
def container(azure: Azure) -> str:
    return azure.make_container()


@pytest.fixture
def azure_proxy(azure: Azure) -> Iterator[FaultProxy]:
    with fault_proxy(azure.port) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def no_account_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The developer's own accounts must neither help nor be touched."""
    for name in list(os.environ):
        if name.startswith(("AZURE_", "GOOGLE_", "GCSFS_", "CLOUDSDK_", "GCE_")) or name == "STORAGE_EMULATOR_HOST":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@dataclass(frozen=True)
class Gcs:
    """A gcp-storage-emulator that runs."""

    port: int

    def options(self, *, url: str = "", unsafe: bool = True) -> dict[str, object]:
        """``storage_options`` for it; ``url`` is of what stands in front of it."""
        options: dict[str, object] = {"token": "anon", "endpoint_url": url or f"http://127.0.0.1:{self.port}"}
        return {**options, "unsafe_allow_unconditional_put_for_tests": True} if unsafe else options

    def make_bucket(self) -> str:
        name = f"buck-{uuid.uuid4().hex}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        body = f'{{"name": "{name}"}}'
        connection.request("POST", "/storage/v1/b?project=p", body, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200
        connection.close()
        return name


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def ready(_: str) -> int | None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return None
        return port

    command = [sys.executable, str(Path(__file__).with_name("gcs_server.py")), str(port)]
    with running(command, tmp_path_factory.mktemp("gcs"), ready):
        yield Gcs(port)


@pytest.fixture
def bucket(gcs: Gcs) -> str:
    return gcs.make_bucket()


@pytest.fixture
def gcs_proxy(gcs: Gcs) -> Iterator[FaultProxy]:
    with fault_proxy(gcs.port) as proxy:
        yield proxy
