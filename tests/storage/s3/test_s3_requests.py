"""What the S3 connector asks of the server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from checkmaite_core.errors import ObjectExistsError, StorageError
from checkmaite_storage import open_object_store
from checkmaite_storage._remote import RemoteObjectStore
from checkmaite_storage._s3_client import S3Client
from checkmaite_storage.testing import Fault, FaultProxy

MIB = 2**20


@pytest.fixture
def proxied(bucket: str, options: dict[str, object], proxy: FaultProxy) -> RemoteObjectStore:
    opened = open_object_store(f"s3://{bucket}/pre", {**options, "endpoint_url": proxy.url})
    assert isinstance(opened, RemoteObjectStore)
    return opened


@pytest.mark.parametrize("size", [0, 1, 11 * MIB], ids=["empty", "small", "11 MiB"])
def test_a_put_is_one_conditional_request(proxied: RemoteObjectStore, proxy: FaultProxy, size: int) -> None:
    proxied.put_if_absent("a", bytes(size))
    [request] = proxy.requests
    assert request.method == "PUT"
    assert request.headers["if-none-match"] == "*"
    assert len(request.headers["x-amz-meta-checkmaite-token"]) == 32


def test_a_put_of_40_mib_is_one_conditional_request_and_sent_piece_by_piece(
    proxied: RemoteObjectStore, proxy: FaultProxy
) -> None:
    data = b"".join(bytes([n]) * MIB for n in range(40))
    proxied.put_if_absent("large", data)
    [request] = proxy.requests
    assert (request.method, request.headers["if-none-match"]) == ("PUT", "*")
    assert request.body.count(data) == 1
    assert proxied.get("large") == data


@pytest.mark.parametrize("size", [1, 33 * MIB, 80 * MIB], ids=["small", "33 MiB", "80 MiB"])
def test_a_server_that_ignores_the_condition_at_the_end_of_an_upload_in_parts_never_lets_two_puts_win(
    proxied: RemoteObjectStore, proxy: FaultProxy, size: int
) -> None:
    """It cannot be asked to: what is used is what the probe has proven."""
    proxy.fault = lambda request: 500 if "uploads" in request.path or "uploadId" in request.path else None
    proxied.probe()
    proxied.put_if_absent("a", bytes(size))
    with pytest.raises(ObjectExistsError):
        proxied.put_if_absent("a", b"1" * size)
    assert proxied.get("a") == bytes(size)
    assert not any("upload" in request.path for request in proxy.requests)


def test_a_large_put_whose_answer_got_lost_knows_its_own_object(proxied: RemoteObjectStore, proxy: FaultProxy) -> None:
    proxied.put_if_absent("connected", b"")
    proxy.spoil(Fault.LOST)
    proxied.put_if_absent("large", b"x" * 33 * MIB)
    assert [request.method for request in proxy.requests][-1] == "HEAD"
    assert proxied.get("large") == b"x" * 33 * MIB


def test_what_is_too_large_for_one_put_is_refused_before_anything_is_sent(
    proxied: RemoteObjectStore, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert proxied._client.largest == 5 * 2**30
    monkeypatch.setattr(S3Client, "largest", 10)
    with pytest.raises(StorageError, match=r"pre/a was not written: it has 11 bytes, and .* 10 at most") as caught:
        proxied.put_if_absent("a", bytes(11))
    assert "Write less at once" in caught.value.hint
    assert proxy.requests == []


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
