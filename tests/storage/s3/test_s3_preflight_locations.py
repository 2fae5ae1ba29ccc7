"""Inputs in S3, as a preflight finds them from a worker: there, absent, or closed to it."""

from __future__ import annotations

import pytest

from checkmaite_core import AnalyticsStoreConfig
from checkmaite_core.preflight import Check
from checkmaite_core.preflight.inquiry import LocationFacts
from checkmaite_core.preflight.locations import check_location
from checkmaite_storage._remote import RemoteObjectStore
from checkmaite_storage.testing import FaultProxy

KEY = {"AWS_ACCESS_KEY_ID": "test-key-id", "AWS_SECRET_ACCESS_KEY": "test-secret-key"}


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, proxy: FaultProxy) -> None:
    """What a worker has in its environment."""
    for name, value in {**KEY, "AWS_ENDPOINT_URL": proxy.url}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def data(store: RemoteObjectStore) -> str:
    """The location that holds ``digits/a.npz``."""
    store.put_if_absent("digits/a.npz", b"numbers")
    return store.uri


def look(location: str, store: AnalyticsStoreConfig | None = None) -> Check:
    return check_location(LocationFacts(location=location), store)


def test_an_object_and_what_lies_below_a_name_are_found(worker: None, data: str) -> None:
    assert look(f"{data}/digits/a.npz").found == "can be read (7 bytes)"
    for folder in (f"{data}/digits", f"{data}/digits/"):
        assert look(folder).found == "objects lie below it, and can be listed"


def test_an_object_is_found_without_a_listing_of_all_that_lies_below(
    worker: None, data: str, proxy: FaultProxy
) -> None:
    proxy.requests.clear()
    assert look(f"{data}/digits").level == "ok"
    assert len(proxy.requests) <= 3


@pytest.mark.parametrize("name", ["digits/b.npz", "digits/a", "nothing"])
def test_what_is_not_there_is_the_clients_to_mend(worker: None, data: str, name: str) -> None:
    found = look(f"{data}/{name}")
    assert (found.level, found.mender, found.found) == ("error", "client", "nothing is there")


def test_a_bucket_that_is_not_there_is_the_storages_to_mend(worker: None) -> None:
    for location in ("s3://no-such-bucket-here/digits", "s3://no-such-bucket-here"):
        found = look(location)
        assert (found.level, found.mender) == ("error", "storage"), found
        assert "no such bucket" in found.found


def test_a_worker_that_is_refused_is_told_from_one_that_is_not_known(
    worker: None, data: str, proxy: FaultProxy
) -> None:
    for code, mender in (("AccessDenied", "storage"), ("InvalidAccessKeyId", "cluster")):
        proxy.fault = lambda request, code=code: (403, f"<Error><Code>{code}</Code></Error>".encode())  # type: ignore[misc]
        found = look(f"{data}/digits/a.npz")
        assert (found.level, found.mender) == ("error", mender), found
        assert "test-secret-key" not in str(found)


def test_what_only_the_stores_options_open_is_a_warning(data: str, options: dict[str, object]) -> None:
    store = AnalyticsStoreConfig(uri=data, storage_options=options)
    found = look(f"{data}/digits/a.npz", store)
    assert (found.level, found.mender) == ("warning", "client"), found
    assert "storage_options only" in found.found
    assert "test-secret-key" not in str(found)
