"""A real S3 server, started here, and a proxy in front of it."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkmaite_storage import open_object_store
from checkmaite_storage._remote import RemoteObjectStore
from checkmaite_storage.testing import FaultProxy, fault_proxy

SERVER = Path(__file__).parents[1] / "servers" / "moto_server.py"


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    with subprocess.Popen([sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        printed = server.stdout.readline()
        assert printed, "moto's server did not start"
        yield int(printed)
        server.stdin.close()


@pytest.fixture(autouse=True)
def no_account_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The developer's own accounts must neither help nor be touched."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def bucket(s3_port: int) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    connection = http.client.HTTPConnection("127.0.0.1", s3_port)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    return name


@pytest.fixture
def options(s3_port: int) -> dict[str, object]:
    return {"key": "test-key-id", "secret": "test-secret-key", "endpoint_url": f"http://127.0.0.1:{s3_port}"}


@pytest.fixture
def store(bucket: str, options: dict[str, object]) -> RemoteObjectStore:
    opened = open_object_store(f"s3://{bucket}/some/prefix", options)
    assert isinstance(opened, RemoteObjectStore)
    return opened


@pytest.fixture
def proxy(s3_port: int) -> Iterator[FaultProxy]:
    with fault_proxy(s3_port) as running:
        yield running
