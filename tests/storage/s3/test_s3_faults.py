"""The S3 connector against a server that fails: real sockets, with a proxy between."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from checkmaite_core.errors import ObjectExistsError, StorageError, StorageUnreachableError
from checkmaite_storage._remote import RemoteObjectStore, RetryPolicy, parse_location
from checkmaite_storage._s3_client import S3Client
from checkmaite_storage.testing import Fault, FaultProxy

USES: dict[str, Callable[[RemoteObjectStore], object]] = {
    "put": lambda store: store.put_if_absent("new", b"1"),
    "get": lambda store: store.get("there"),
    "list": lambda store: list(store.list()),
    "delete": lambda store: store.delete("there"),
}
PASSING = [409, 429, 500, 502, 503, Fault.RESET, Fault.HANG, Fault.LOST, Fault.HANG_AFTER]


@pytest.fixture
def client(bucket: str, options: dict[str, object], proxy: FaultProxy) -> S3Client:
    """Connected, so that what is measured is requests alone."""
    location = parse_location(f"s3://{bucket}/pre", ("s3",), scheme="s3", credentials="")
    client = S3Client(location, {**options, "endpoint_url": proxy.url})
    RemoteObjectStore(client).put_if_absent("there", b"content" * 1000)
    proxy.requests.clear()
    return client


@pytest.fixture
def hasty(client: S3Client) -> RemoteObjectStore:
    """A store that waits half a second for an answer, and long for an operation."""
    return RemoteObjectStore(client, RetryPolicy(deadline=60.0, attempt_timeout=0.5, initial_backoff=0.01))


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_what_passes_is_retried(hasty: RemoteObjectStore, proxy: FaultProxy, fault: Fault | int) -> None:
    for verb, use in USES.items():
        proxy.requests.clear()
        proxy.spoil(fault)
        use(hasty)
        assert len(proxy.requests) >= 2, verb


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.HANG_AFTER], ids=str)
def test_a_put_whose_answer_got_lost_knows_its_own_object(
    hasty: RemoteObjectStore, proxy: FaultProxy, fault: Fault
) -> None:
    proxy.spoil(fault)
    hasty.put_if_absent("mine", b"1")
    methods = [request.method for request in proxy.requests]
    assert methods[:2] == ["PUT", "PUT"]
    assert methods[-1] == "HEAD"
    assert hasty.get("mine") == b"1"


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.RESET, 503, 409], ids=str)
def test_a_put_after_a_fault_does_not_take_anothers_object_for_its_own(
    hasty: RemoteObjectStore, proxy: FaultProxy, fault: Fault | int
) -> None:
    hasty.put_if_absent("theirs", b"first")
    proxy.spoil(fault)
    with pytest.raises(ObjectExistsError):
        hasty.put_if_absent("theirs", b"second")
    assert hasty.get("theirs") == b"first"


def test_an_answer_that_ends_in_its_middle_is_never_taken_for_whole(
    hasty: RemoteObjectStore, proxy: FaultProxy
) -> None:
    proxy.spoil(Fault.CUT)
    assert hasty.get("there") == b"content" * 1000
    assert len(proxy.requests) >= 2


@pytest.mark.parametrize("fault", [503, Fault.HANG, Fault.RESET], ids=str)
def test_the_deadline_holds(client: S3Client, proxy: FaultProxy, fault: Fault | int) -> None:
    store = RemoteObjectStore(client, RetryPolicy(deadline=2.0, attempt_timeout=0.5, initial_backoff=0.01))
    proxy.fault = lambda _: fault
    start = time.monotonic()
    with pytest.raises(
        StorageUnreachableError, match=r"s3://.*/pre/new could not be written: .*attempts? in"
    ) as caught:
        store.put_if_absent("new", b"")
    assert time.monotonic() - start < 8  # 2 s, and what a loaded machine adds
    assert "Write again under the same key" in caught.value.hint
    assert len(proxy.requests) >= 2


def test_a_port_that_nobody_listens_at_is_unreachable(bucket: str, options: dict[str, object]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        location = parse_location(f"s3://{bucket}", ("s3",), scheme="s3", credentials="")
        client = S3Client(location, {**options, "endpoint_url": endpoint})
        store = RemoteObjectStore(client, RetryPolicy(connect_deadline=0.5))
        with pytest.raises(StorageUnreachableError, match="EndpointConnectionError") as caught:
            store.get("a")
    assert "AWS_ENDPOINT_URL" in caught.value.hint


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_a_refusal_is_not_retried(client: S3Client, proxy: FaultProxy, status: int) -> None:
    proxy.spoil(status)
    with pytest.raises(StorageError, match="could not be read"):
        RemoteObjectStore(client).get("there")
    assert len(proxy.requests) == 1
