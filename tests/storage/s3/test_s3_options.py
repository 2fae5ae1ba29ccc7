"""Every option that is accepted is seen in the requests; one without a case here fails the first test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from checkmaite_core.errors import ConfigurationError, StorageError, UnknownOptionError
from checkmaite_storage import open_object_store
from checkmaite_storage._remote import RemoteObjectStore, RetryPolicy, parse_location
from checkmaite_storage._s3_client import S3Client
from checkmaite_storage._s3_options import CLIENT, REQUEST, S3, check_s3_options
from checkmaite_storage.testing import FaultProxy, ProxiedRequest

MIB = 2**20
BASE = {"key": "the-key-id", "secret": "the-secret-key"}

Seen = Callable[[list[ProxiedRequest]], bool]


def on_all(name: str, value: str) -> Seen:
    return lambda requests: all(request.headers.get(name) == value for request in requests)


def signed_by(key: str, secret: str, region: str = "us-east-1") -> Seen:
    def seen(requests: list[ProxiedRequest]) -> bool:
        return all(signature(request, key, secret, region) for request in requests)

    return seen


def signature(request: ProxiedRequest, key: str, secret: str, region: str) -> bool:
    """Whether the request's signature is that of these credentials."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    found = dict(part.strip().split("=", 1) for part in request.headers["authorization"].partition(" ")[2].split(","))
    headers = {name: request.headers[name] for name in found["SignedHeaders"].split(";")}
    again = AWSRequest(request.method, f"http://{headers['host']}{request.path}", headers, request.body)
    again.context["timestamp"] = headers["x-amz-date"]
    signer = S3SigV4Auth(Credentials(key, secret, headers.get("x-amz-security-token")), "s3", region)
    made = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    return found["Credential"].startswith(f"{key}/") and found["Signature"] == made


def of_client(**options: Any) -> dict[str, Any]:
    return {"client_kwargs": options}


CASES: dict[str, tuple[dict[str, Any], Seen]] = {
    "anon": (
        {"anon": True, "s3_additional_kwargs": {"ACL": "public-read"}},
        lambda requests: not any("authorization" in each.headers for each in requests),
    ),
    "key": (BASE, signed_by("the-key-id", "the-secret-key")),
    "secret": ({**BASE, "secret": "another-one"}, signed_by("the-key-id", "another-one")),
    "token": ({**BASE, "token": "session-token"}, on_all("x-amz-security-token", "session-token")),
    "profile": ({"profile": "team"}, signed_by("profile-key-id", "profile-secret")),
    "endpoint_url": (BASE, lambda requests: len(requests) >= 8),
    "requester_pays": ({**BASE, "requester_pays": True}, on_all("x-amz-request-payer", "requester")),
    "client_kwargs": (
        BASE | of_client(region_name="eu-west-3"),
        signed_by("the-key-id", "the-secret-key", "eu-west-3"),
    ),
    "config_kwargs": (
        BASE | {"config_kwargs": {"user_agent_extra": "team/1"}},
        lambda requests: all("team/1" in each.headers["user-agent"] for each in requests),
    ),
    "s3_additional_kwargs": (
        BASE | {"s3_additional_kwargs": {"ExpectedBucketOwner": "123456789012"}},
        on_all("x-amz-expected-bucket-owner", "123456789012"),
    ),
}


def test_every_option_that_is_accepted_has_a_case() -> None:
    assert CASES.keys() == S3.accepted.keys()
    assert CLIENT_CASES.keys() == CLIENT.accepted.keys()
    assert REQUEST_CASES.keys() == REQUEST.accepted.keys()
    assert not S3.accepted.keys() & S3.refused.keys()


@pytest.fixture
def ask(
    bucket: str, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[ProxiedRequest]]:
    (tmp_path / "config").write_text(
        "[profile team]\naws_access_key_id = profile-key-id\naws_secret_access_key = profile-secret\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "of-the-environment")  # options count more

    def ask(options: Mapping[str, Any], *, library: Callable[[Any], None] = lambda _: None) -> list[ProxiedRequest]:
        """What is sent for every verb, also those of a large object and of ranges."""
        chosen = {**options} if "endpoint_url" in options.get("client_kwargs", {}) else {**options, "endpoint_url": ""}
        if "endpoint_url" in chosen:
            chosen["endpoint_url"] = proxy.url
        check_s3_options(chosen)
        location = parse_location(f"s3://{bucket}/pre", ("s3",), scheme="s3", credentials="")
        client = S3Client(location, chosen)
        for filesystem in (client._own.get(), client.filesystem):
            library(filesystem)
        store = RemoteObjectStore(client, RetryPolicy(deadline=5.0))
        store.put_if_absent("small", b"0123456789")
        store.put_if_absent("large", bytes(11 * MIB))
        assert store.get("small") == b"0123456789"
        assert len(list(store.list())) == 2
        assert client.token("pre/small", 10.0)
        assert store.filesystem.cat_file(store.path("small"), start=2, end=5) == b"234"
        assert store.filesystem.info(store.path("small"))["size"] == 10
        store.delete("large")
        sent = list(proxy.requests)
        assert {request.method for request in sent} == {"PUT", "GET", "HEAD", "DELETE"}
        return sent

    return ask


@pytest.mark.parametrize("name", CASES)
def test_an_option_is_seen_in_every_request(name: str, ask: Callable[..., list[ProxiedRequest]]) -> None:
    options, seen = CASES[name]
    assert seen(ask(options))


def test_who_pays_is_sent_also_by_versions_of_the_library_that_send_it_with_reads_only(
    ask: Callable[..., list[ProxiedRequest]],
) -> None:
    def older(filesystem: Any) -> None:
        filesystem.req_kw = {}

    assert CASES["requester_pays"][1](ask({**BASE, "requester_pays": True}, library=older))


CLIENT_CASES: dict[str, tuple[dict[str, Any], Seen]] = {
    "region_name": CASES["client_kwargs"],
    "verify": (BASE | of_client(verify=False), lambda requests: len(requests) >= 8),
    "endpoint_url": (BASE | of_client(endpoint_url="PROXY"), lambda requests: len(requests) >= 8),
    "aws_access_key_id": (
        of_client(aws_access_key_id="own-id", aws_secret_access_key="own-secret"),
        signed_by("own-id", "own-secret"),
    ),
    "aws_secret_access_key": (
        of_client(aws_access_key_id="own-id", aws_secret_access_key="own-secret"),
        signed_by("own-id", "own-secret"),
    ),
    "aws_session_token": (
        of_client(aws_access_key_id="i", aws_secret_access_key="s", aws_session_token="session-token"),
        on_all("x-amz-security-token", "session-token"),
    ),
}


@pytest.mark.parametrize("name", CLIENT_CASES)
def test_an_option_of_the_client_is_seen_in_every_request(
    name: str, ask: Callable[..., list[ProxiedRequest]], proxy: FaultProxy
) -> None:
    options, seen = CLIENT_CASES[name]
    if name == "endpoint_url":
        options = BASE | of_client(endpoint_url=proxy.url)
    assert seen(ask(options))


def test_whether_certificates_are_verified_reaches_the_connections(bucket: str, options: dict[str, object]) -> None:
    store = open_object_store(f"s3://{bucket}", {**options, **of_client(verify=False)})
    assert isinstance(store, RemoteObjectStore)
    client = store._client
    assert isinstance(client, S3Client)
    for filesystem in (client._own.get(), client.filesystem):
        filesystem.connect()
        assert filesystem.s3._endpoint.http_session._verify is False


PUT, GET, HEAD, LIST, DELETE = "put", "get", "head", "list", "delete"
WRITES, OBJECTS, ALL = {PUT}, {PUT, GET, HEAD}, {PUT, GET, HEAD, LIST, DELETE}
SSE = "x-amz-server-side-encryption"
SSE_C = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "0" * 32}
REQUEST_CASES: dict[str, tuple[Any, str, set[str]]] = {
    "ACL": ("private", "x-amz-acl", WRITES),
    "BucketKeyEnabled": (True, f"{SSE}-bucket-key-enabled", WRITES),
    "CacheControl": ("no-store", "cache-control", WRITES),
    "ChecksumAlgorithm": ("SHA256", "x-amz-checksum-algorithm x-amz-sdk-checksum-algorithm", WRITES),
    "ContentDisposition": ("inline", "content-disposition", WRITES),
    "ContentEncoding": ("identity", "content-encoding", WRITES),
    "ContentLanguage": ("en", "content-language", WRITES),
    "ContentType": ("application/x-run", "content-type", WRITES),
    "GrantFullControl": ("id=a", "x-amz-grant-full-control", WRITES),
    "GrantRead": ("id=a", "x-amz-grant-read", WRITES),
    "GrantReadACP": ("id=a", "x-amz-grant-read-acp", WRITES),
    "GrantWriteACP": ("id=a", "x-amz-grant-write-acp", WRITES),
    "Metadata": ({"team": "a"}, "x-amz-meta-team", WRITES),
    "ObjectLockLegalHoldStatus": ("ON", "x-amz-object-lock-legal-hold", WRITES),
    "ObjectLockMode": ("GOVERNANCE", "x-amz-object-lock-mode", WRITES),
    "ObjectLockRetainUntilDate": (
        "2030-01-01T00:00:00Z",
        "x-amz-object-lock-retain-until-date",
        WRITES,
    ),
    "SSEKMSEncryptionContext": ("e30=", f"{SSE}-context", WRITES),
    "SSEKMSKeyId": ("key-1", f"{SSE}-aws-kms-key-id", WRITES),
    "ServerSideEncryption": ("aws:kms", SSE, WRITES),
    "StorageClass": ("STANDARD_IA", "x-amz-storage-class", WRITES),
    "Tagging": ("a=b", "x-amz-tagging", WRITES),
    "SSECustomerAlgorithm": ("AES256", f"{SSE}-customer-algorithm", OBJECTS),
    "SSECustomerKey": ("0" * 32, f"{SSE}-customer-key", OBJECTS),
    "SSECustomerKeyMD5": ("x", f"{SSE}-customer-key-md5", OBJECTS),
    "ExpectedBucketOwner": ("123456789012", "x-amz-expected-bucket-owner", ALL),
    "RequestPayer": ("requester", "x-amz-request-payer", ALL),
}


@pytest.mark.parametrize("name", REQUEST_CASES)
def test_a_parameter_of_requests_is_seen_in_each_that_has_it(name: str, bucket: str, proxy: FaultProxy) -> None:
    value, headers, expected = REQUEST_CASES[name]
    more = SSE_C if name.startswith("SSECustomer") else {}
    options = {**BASE, "endpoint_url": proxy.url, "s3_additional_kwargs": {**more, name: value}}
    check_s3_options(options)
    location = parse_location(f"s3://{bucket}/pre", ("s3",), scheme="s3", credentials="")
    client = S3Client(location, options)
    store = RemoteObjectStore(client, RetryPolicy(deadline=5.0))
    proxy.fault = lambda _: 403  # not all of them can be done by moto; what was asked is what counts
    verbs: dict[str, Callable[[], object]] = {
        PUT: lambda: store.put_if_absent("a", b"1"),
        GET: lambda: store.get("a"),
        HEAD: lambda: client.token("pre/a", 5.0),
        LIST: lambda: list(store.list()),
        DELETE: lambda: store.delete("a"),
    }
    seen = set()
    for verb, call in verbs.items():
        proxy.requests.clear()
        with contextlib.suppress(StorageError, PermissionError):
            call()
        [request] = proxy.requests
        if any(header in request.headers for header in headers.split()):
            seen.add(verb)
    assert seen == expected


def checksums(requests: list[ProxiedRequest]) -> set[str]:
    """What the requests say of checksums, beside the signature's."""
    names = {name for request in requests for name in request.headers}
    found = {name for name in names if "checksum" in name or name in ("x-amz-trailer", "content-md5")}
    encoded = {request.headers.get("content-encoding", "") for request in requests}
    return found | {each for each in encoded if "chunked" in each}


OFF = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}


def test_the_checksums_that_some_servers_refuse_are_turned_off_by_option(
    ask: Callable[..., list[ProxiedRequest]],
) -> None:
    assert checksums(ask(BASE | {"config_kwargs": OFF})) == set()


def test_the_checksums_that_some_servers_refuse_are_turned_off_by_the_environment(
    ask: Callable[..., list[ProxiedRequest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OFF.items():
        monkeypatch.setenv(f"AWS_{name.upper()}", value)
    assert checksums(ask(BASE)) == set()


def test_the_checksums_are_sent_and_asked_for_by_default(ask: Callable[..., list[ProxiedRequest]]) -> None:
    assert checksums(ask(BASE)) >= {"x-amz-checksum-crc32", "x-amz-checksum-mode"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        *[({name: True}, f"'{name}'.*\n.*{hint.split('.')[0][:20]}") for name, hint in S3.refused.items()],
        ({"requster_pays": True}, "Did you mean 'requester_pays'"),
        ({"s3_additional_kwargs": {"ServerSideEncrytion": "AES256"}}, "Did you mean 'ServerSideEncryption'"),
        ({"s3_additional_kwargs": {"IfNoneMatch": "x"}}, "the store says it"),
        ({"client_kwargs": {"use_ssl": False}}, "endpoint_url='http://"),
        ({"config_kwargs": {"s3": {"adressing_style": "path"}}}, "Did you mean 'addressing_style'"),
        ({"anon": True, "key": "hunter2"}, "'anon' and 'key', of which one would be ignored"),
        ({"profile": "team", "key": "hunter2", "secret": "hunter2"}, "'key' and 'profile'"),
    ],
)
def test_what_would_change_no_request_is_refused_by_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UnknownOptionError, match=words) as caught:
        open_object_store("s3://bucket", options)
    assert "hunter2" not in str(caught.value)


def test_one_thing_is_not_said_twice() -> None:
    with pytest.raises(ConfigurationError, match="'key', and client_kwargs has 'aws_access_key_id'"):
        open_object_store("s3://bucket", {"key": "a", "client_kwargs": {"aws_access_key_id": "b"}})
