"""Every option of Azure that is accepted is seen in the requests, which go nowhere: azurite has no TLS."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import azure.identity.aio
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import AioHttpTransport

from checkmaite_core.errors import ConfigurationError, UnknownOptionError
from checkmaite_storage import open_object_store
from checkmaite_storage._azure import _DEFAULT_CREDENTIAL, AZURE
from checkmaite_storage._azure_client import AzureClient
from checkmaite_storage._remote import RemoteObjectStore

KEY = "a2V5"
ACCOUNT = {"account_name": "acc"}
BY_KEY = {**ACCOUNT, "account_key": KEY}
PRINCIPAL = {**ACCOUNT, "client_id": "the-client", "client_secret": "the-secret", "tenant_id": "the-tenant"}

Seen = Callable[[list[Any], dict[str, Any]], bool]


class Credential:
    """What azure.identity has: it remembers how it was made, and gives a token."""

    made: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        type(self).made.update(options)

    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("the-bearer", int(time.time()) + 3600)

    async def close(self) -> None:
        pass


def on_host(host: str) -> Seen:
    return lambda requests, _: all(each.url.startswith(f"https://{host}/con") for each in requests)


def with_header(beginning: str) -> Seen:
    return lambda requests, _: all(each.headers.get("Authorization", "").startswith(beginning) for each in requests)


def made_with(**options: Any) -> Seen:
    return lambda requests, made: made.items() >= options.items() and with_header("Bearer the-bearer")(requests, made)


CASES: dict[str, tuple[dict[str, Any], Seen]] = {
    "account_name": (BY_KEY, on_host("acc.blob.core.windows.net")),
    "account_host": (
        {**BY_KEY, "account_host": "acc.blob.core.chinacloudapi.cn"},
        on_host("acc.blob.core.chinacloudapi.cn"),
    ),
    "account_key": (BY_KEY, with_header("SharedKey acc:")),
    "sas_token": (
        {**ACCOUNT, "sas_token": "sv=1&sig=xyz"},
        lambda sent, _: all("sig=xyz" in r.url for r in sent),
    ),
    "connection_string": (
        {"connection_string": f"AccountName=other;AccountKey={KEY};BlobEndpoint=https://there.example"},
        lambda requests, made: (
            on_host("there.example")(requests, made) and with_header("SharedKey other:")(requests, made)
        ),
    ),
    "credential": ({**ACCOUNT, "credential": "CREDENTIAL"}, with_header("Bearer the-bearer")),
    "client_id": (PRINCIPAL, made_with(client_id="the-client")),
    "client_secret": (PRINCIPAL, made_with(client_secret="the-secret")),
    "tenant_id": (PRINCIPAL, made_with(tenant_id="the-tenant")),
    "anon": ({**ACCOUNT, "anon": True}, lambda requests, _: not any("Authorization" in r.headers for r in requests)),
    **{name: ({**ACCOUNT, name: True}, made_with(**{name: True})) for name in _DEFAULT_CREDENTIAL},
}


def test_every_option_that_is_accepted_has_a_case() -> None:
    assert CASES.keys() == AZURE.accepted.keys()
    assert not AZURE.accepted.keys() & AZURE.refused.keys()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    made: dict[str, Any] = {}
    recording = type("Recording", (Credential,), {"made": made})
    for module in (azure.identity, azure.identity.aio):
        monkeypatch.setattr(module, "DefaultAzureCredential", recording)
        monkeypatch.setattr(module, "ClientSecretCredential", recording)
    return made


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    sent: list[Any] = []

    async def send(_: Any, request: Any, **__: Any) -> Any:
        sent.append(request)
        raise ServiceRequestError("this test sends nothing")

    monkeypatch.setattr(AioHttpTransport, "send", send)
    return sent


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_option_is_seen_in_every_request(name: str, sent: list[Any], made: dict[str, Any]) -> None:
    options, seen = CASES[name]
    if "credential" in options:
        options = {**options, "credential": type("Given", (Credential,), {"made": {}})()}
    store = open_object_store("az://con/pre", options)
    assert isinstance(store, RemoteObjectStore)
    client = store._client
    assert isinstance(client, AzureClient)
    for verb in (
        lambda: client.create("pre/small", b"1", "t", 5.0),
        lambda: client.create("pre/large", bytes(2**20), "t", 5.0),
        lambda: client.get("pre/small", 5.0),
        lambda: client.token("pre/small", 5.0),
        lambda: client.page("pre/", None, 5.0),
        lambda: client.delete("pre/small", 5.0),
    ):
        with contextlib.suppress(ServiceRequestError):
            verb()
    assert len(sent) == 6
    assert {request.method for request in sent} == {"PUT", "GET", "HEAD", "DELETE"}
    assert seen(sent, made)


@pytest.mark.parametrize("name", AZURE.refused)
def test_what_would_change_no_request_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnknownOptionError, match=f"no option '{name}'") as caught:
        open_object_store("az://con", {**BY_KEY, name: "hunter2"})
    assert caught.value.hint == AZURE.refused[name]


@pytest.mark.parametrize(
    "more", [{"sas_token": "sig=hunter2"}, {"anon": True}, {"exclude_cli_credential": True}, {"client_id": "hunter2"}]
)
def test_of_two_kinds_of_credentials_none_is_ignored(more: dict[str, Any]) -> None:
    with pytest.raises(UnknownOptionError, match=r"'account_key' and '|and 'account_key'") as caught:
        open_object_store("az://con", {**BY_KEY, **more})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "variable"),
    [
        (BY_KEY, "AZURE_STORAGE_CONNECTION_STRING"),
        (CASES["sas_token"][0], "AZURE_STORAGE_ACCOUNT_KEY"),
        (PRINCIPAL, "AZURE_STORAGE_SAS_TOKEN"),
        (CASES["anon"][0], "AZURE_STORAGE_ACCOUNT_KEY"),
        (CASES["exclude_cli_credential"][0], "AZURE_STORAGE_CLIENT_ID"),
    ],
)
def test_a_variable_that_the_library_would_prefer_to_an_option_is_named(
    options: dict[str, Any], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "hunter2")
    with pytest.raises(ConfigurationError, match=f"the variable {variable} is set.*\n.*Unset {variable}") as caught:
        open_object_store("az://con", options)
    assert "hunter2" not in str(caught.value)
