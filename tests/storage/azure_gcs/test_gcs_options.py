"""Every option of Google Cloud Storage that is accepted is seen in the requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import google.auth
import pytest

from checkmaite_core.errors import ConfigurationError, UnknownOptionError
from checkmaite_storage import open_object_store
from checkmaite_storage._gcs import _UNSAFE, GCS
from checkmaite_storage.testing import FaultProxy, ProxiedRequest

Seen = Callable[[list[ProxiedRequest]], bool]


def paid_by(project: str) -> Seen:
    return lambda requests: all(
        parse_qs(urlsplit(each.path).query).get("userProject") == [project] for each in requests
    )


CASES: dict[str, tuple[dict[str, Any], Seen]] = {
    "token": (
        {"token": "ya29.mine"},
        lambda requests: {each.headers["authorization"] for each in requests} == {"Bearer ya29.mine"},
    ),
    "project": ({"token": "anon", "project": "mine", "requester_pays": True}, paid_by("mine")),
    "access": ({"access": "read_only"}, lambda _: True),  # the test below has it
    "requester_pays": ({"token": "anon", "requester_pays": "payer"}, paid_by("payer")),
    "endpoint_url": ({"token": "anon"}, lambda requests: len(requests) >= 8),
    "session_kwargs": (
        {"token": "anon", "session_kwargs": {"headers": {"x-team": "a"}}},
        lambda requests: {each.headers.get("x-team") for each in requests} == {"a"},
    ),
    _UNSAFE: ({"token": "anon"}, lambda requests: requests[0].method == "GET"),
}


def test_every_option_that_is_accepted_has_a_case() -> None:
    assert CASES.keys() == GCS.accepted.keys()
    assert not GCS.accepted.keys() & GCS.refused.keys()


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"access"}))
def test_an_option_is_seen_in_every_request(name: str, bucket: str, gcs_proxy: FaultProxy) -> None:
    options, seen = CASES[name]
    store = open_object_store(f"gs://{bucket}/pre", {**options, "endpoint_url": gcs_proxy.url, _UNSAFE: True})
    store.put_if_absent("small", b"0123456789")
    store.put_if_absent("large", bytes(17 * 2**20))
    assert store.get("small") == b"0123456789"
    assert len(list(store.list())) == 2
    assert store.filesystem.cat_file(store.path("small"), start=2, end=5) == b"234"
    store.delete("large")
    assert {request.method for request in gcs_proxy.requests} == {"GET", "POST", "DELETE"}
    assert seen(gcs_proxy.requests)


def test_what_credentials_are_asked_for_is_what_access_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def default(scopes: list[str], **_: Any) -> Any:
        asked.extend(scopes)
        return google.auth.credentials.AnonymousCredentials(), "mine"  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", default)
    assert open_object_store("gs://bucket", CASES["access"][0]).filesystem
    assert [scope.rpartition(".")[2] for scope in asked] == ["read_only"]


def test_who_pays_must_be_known(bucket: str, gcs_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_object_store(
        f"gs://{bucket}", {"token": "anon", "project": "", "requester_pays": True, "endpoint_url": gcs_proxy.url}
    )
    monkeypatch.setattr(type(store.filesystem), "project", None)
    with pytest.raises(ConfigurationError, match="no project is known that pays"):
        list(store.list())
    assert gcs_proxy.requests == []


@pytest.mark.parametrize("name", GCS.refused)
def test_what_would_change_no_request_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnknownOptionError, match=f"no option '{name}'") as caught:
        open_object_store("gs://bucket", {name: "hunter2"})
    assert caught.value.hint == GCS.refused[name]
    assert "hunter2" not in str(caught.value)
