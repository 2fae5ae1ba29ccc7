"""What the S3 connector asks of the server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from checkmaite_core.errors import ObjectExistsError, StorageUnreachableError
from checkmaite_storage import open_object_store
from checkmaite_storage._remote import RemoteObjectStore, RetryPolicy, parse_location
from checkmaite_storage._s3_client import S3Client
from checkmaite_storage.testing import Fault, FaultProxy

MIB = 2**20


@pytest.fixture
def proxied(bucket: str, options: dict[str, object], proxy: FaultProxy) -> RemoteObjectStore:
    opened = open_object_store(f"s3://{bucket}/pre", {**options, "endpoint_url": proxy.url})
    assert isinstance(opened, RemoteObjectStore)
    return opened


@pytest.fixture
def in_parts(bucket: str, options: dict[str, object], proxy: FaultProxy) -> RemoteObjectStore:
    """A store that sends more than 10 MiB in parts of 5 MiB, S3's smallest."""
    location = parse_location(f"s3://{bucket}/pre", ("s3",), scheme="s3", credentials="")
    client = S3Client(location, {**options, "endpoint_url": proxy.url}, part_size=5 * MIB)
    return RemoteObjectStore(client, RetryPolicy(deadline=30.0))


@pytest.fixture
def impatient(in_parts: RemoteObjectStore) -> RemoteObjectStore:
    return RemoteObjectStore(in_parts._client, RetryPolicy(deadline=2.0, slowest=1024 * MIB, initial_backoff=0.05))


@pytest.mark.parametrize("size", [0, 1, 11 * MIB], ids=["empty", "small", "11 MiB"])
def test_a_put_is_one_conditional_request(proxied: RemoteObjectStore, proxy: FaultProxy, size: int) -> None:
    proxied.put_if_absent("a", bytes(size))
    [request] = proxy.requests
    assert request.method == "PUT"
    assert request.headers["if-none-match"] == "*"
    assert len(request.headers["x-amz-meta-checkmaite-token"]) == 32


def test_a_large_put_sets_its_condition_where_it_becomes_visible(
    in_parts: RemoteObjectStore, proxy: FaultProxy
) -> None:
    data = b"".join(bytes([n]) * MIB for n in range(11))
    in_parts.put_if_absent("large", data)
    begin, *parts, end = proxy.requests
    assert (begin.method, begin.path.endswith("?uploads")) == ("POST", True)
    assert len(begin.headers["x-amz-meta-checkmaite-token"]) == 32
    assert {part.method for part in parts} == {"PUT"}
    assert sorted(len(part.body) for part in parts) == [MIB, 5 * MIB, 5 * MIB]
    assert (end.method, end.headers["if-none-match"]) == ("POST", "*")
    assert in_parts.get("large") == data


def test_a_large_put_that_finds_an_object_leaves_it_and_ends_its_upload(
    in_parts: RemoteObjectStore, proxy: FaultProxy
) -> None:
    in_parts.put_if_absent("large", b"first")
    with pytest.raises(ObjectExistsError):
        in_parts.put_if_absent("large", bytes(11 * MIB))
    assert proxy.requests[-1].method == "DELETE"
    assert "uploadId=" in proxy.requests[-1].path
    assert in_parts.get("large") == b"first"


@pytest.mark.parametrize("fails", ["second part", "end"])
@pytest.mark.parametrize("fault", [503, Fault.RESET], ids=str)
def test_a_large_put_that_cannot_be_finished_shows_nothing_and_ends_its_upload(
    in_parts: RemoteObjectStore, impatient: RemoteObjectStore, proxy: FaultProxy, fails: str, fault: Fault | int
) -> None:
    in_parts.put_if_absent("connected", b"")

    def broken(request: object) -> Fault | int | None:
        method, path = request.method, request.path  # type: ignore[attr-defined]
        if fails == "end":
            return fault if method == "POST" and "uploadId=" in path else None
        return fault if method == "PUT" and "partNumber=2" in path else None

    proxy.fault = broken
    with pytest.raises(StorageUnreachableError):
        impatient.put_if_absent("large", bytes(11 * MIB))
    proxy.spoil()
    assert [info.key for info in in_parts.list()] == ["connected"]
    begun = [request for request in proxy.requests if request.path.endswith("?uploads")]
    ended = [request for request in proxy.requests if request.method == "DELETE"]
    assert len(begun) == len(ended) >= 1


def test_a_large_put_whose_last_answer_got_lost_knows_its_own_object(
    in_parts: RemoteObjectStore, proxy: FaultProxy
) -> None:
    ends = iter([Fault.LOST])
    proxy.fault = lambda request: next(ends, None) if request.method == "POST" and "uploadId=" in request.path else None
    in_parts.put_if_absent("large", b"x" * 11 * MIB)
    assert [request.method for request in proxy.requests].count("HEAD") == 1
    assert in_parts.get("large") == b"x" * 11 * MIB


@pytest.mark.parametrize(
    ("use", "method"),
    [
        (lambda store: store.get("a"), "GET"),
        (lambda store: list(store.list()), "GET"),
        (lambda store: store.delete("a"), "DELETE"),
    ],
    ids=["get", "list", "delete"],
)
def test_other_verbs_are_one_request_each(
    proxied: RemoteObjectStore, proxy: FaultProxy, use: Callable[[RemoteObjectStore], object], method: str
) -> None:
    proxied.put_if_absent("a", b"1")
    proxy.requests.clear()
    use(proxied)
    assert [request.method for request in proxy.requests] == [method]
