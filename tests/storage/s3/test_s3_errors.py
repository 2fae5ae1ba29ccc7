"""What the S3 connector says when it is refused, and what it never says."""

from __future__ import annotations

import http.client
import logging
import pickle
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable

import pytest

from checkmaite_core.errors import (
    AccessDeniedError,
    CheckmaiteError,
    ConfigurationError,
    ContainerNotFoundError,
    CorruptObjectError,
    ObjectNotFoundError,
    StorageError,
    UnauthenticatedError,
    UnknownOptionError,
)
from checkmaite_storage import open_object_store
from checkmaite_storage._remote import RemoteObjectStore, RetryPolicy, parse_location
from checkmaite_storage._s3_client import S3Client
from checkmaite_storage.testing import Fault, FaultProxy, ProxiedRequest

SECRETS = ("planted-key-id", "planted/secret+key=", "planted-session-token")


@pytest.fixture
def planted(options: dict[str, object], proxy: FaultProxy) -> dict[str, object]:
    """Options whose every credential is one that must not be seen again."""
    key, secret, token = SECRETS
    return {"key": key, "secret": secret, "token": token, "endpoint_url": proxy.url}


def short_lived(uri: str, options: dict[str, object]) -> RemoteObjectStore:
    client = S3Client(parse_location(uri, ("s3",), scheme="s3", credentials=""), options)
    return RemoteObjectStore(client, RetryPolicy(deadline=0.2, initial_backoff=0.01, connect_deadline=0.1))


def s3_error(code: str, message: str = "as planned") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def test_absent_denied_unauthenticated_and_corrupt_are_different_errors(
    bucket: str, options: dict[str, object], proxy: FaultProxy
) -> None:
    store = open_object_store(f"s3://{bucket}/pre", {**options, "endpoint_url": proxy.url})
    store.put_if_absent("a", b"1")
    with pytest.raises(ObjectNotFoundError, match=f"s3://{bucket}/pre/absent"):
        store.get("absent")
    proxy.spoil((403, s3_error("AccessDenied")))
    with pytest.raises(AccessDeniedError, match=f"s3://{bucket}/pre/a could not be read.*AccessDenied"):
        store.get("a")
    for code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "RequestTimeTooSkewed"):
        proxy.spoil((403, s3_error(code)))
        with pytest.raises(UnauthenticatedError, match=code) as caught:
            store.get("a")
        assert "AWS_ACCESS_KEY_ID" in caught.value.hint
    assert type(caught.value) is not AccessDeniedError


@pytest.mark.parametrize("verb", ["get", "list", "put", "delete"])
def test_an_absent_bucket_is_no_absent_object_and_no_empty_store(options: dict[str, object], verb: str) -> None:
    store = open_object_store("s3://no-such-bucket/pre", options)
    use: dict[str, Callable[[], object]] = {
        "get": lambda: store.get("a"),
        "list": lambda: list(store.list()),
        "put": lambda: store.put_if_absent("a", b""),
        "delete": lambda: store.delete("a"),
    }
    with pytest.raises(ContainerNotFoundError, match="there is no s3://no-such-bucket ") as caught:
        use[verb]()
    assert "aws s3 mb s3://no-such-bucket" in caught.value.hint


def test_bytes_that_do_not_match_their_checksum_are_corrupt(
    store: RemoteObjectStore, options: dict[str, object], proxy: FaultProxy
) -> None:
    store.put_if_absent("a", b"content")
    proxied = open_object_store(store.uri, {**options, "endpoint_url": proxy.url})
    assert proxied.get("a") == b"content"
    proxy.alter = lambda body: body.replace(b"content", b"contemt")
    with pytest.raises(CorruptObjectError, match=f"{store.uri}/a could not be read"):
        proxied.get("a")


def test_no_credentials_at_all_is_said_before_anything_is_asked(bucket: str, proxy: FaultProxy) -> None:
    store = open_object_store(f"s3://{bucket}", {"endpoint_url": proxy.url})
    with pytest.raises(UnauthenticatedError, match="NoCredentialsError") as caught:
        store.get("a")
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint
    assert proxy.requests == []


def test_a_profile_that_does_not_exist_is_named(bucket: str) -> None:
    with pytest.raises(UnauthenticatedError, match="nobody"):
        open_object_store(f"s3://{bucket}", {"profile": "nobody"}).get("a")


def test_a_public_object_is_read_without_credentials(s3_port: int, bucket: str, options: dict[str, object]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", s3_port)
    connection.request("PUT", f"/{bucket}/a", b"1", {"x-amz-acl": "public-read"})
    assert connection.getresponse().status == 200
    connection.close()
    store = open_object_store(f"s3://{bucket}", {"anon": True, "endpoint_url": options["endpoint_url"]})
    assert store.get("a") == b"1"


def may(*allowed: str) -> Callable[[ProxiedRequest], tuple[int, bytes] | None]:
    """A policy: which of get, list, put and delete are allowed."""

    def judge(request: ProxiedRequest) -> tuple[int, bytes] | None:
        verb = {"PUT": "put", "POST": "put", "DELETE": "delete", "HEAD": "get"}.get(request.method)
        verb = verb or ("list" if "list-type=2" in request.path else "get")
        return None if verb in allowed else (403, s3_error("AccessDenied", "no rule allows it"))

    return judge


def test_a_worker_needs_get_list_and_put(bucket: str, options: dict[str, object], proxy: FaultProxy) -> None:
    store = open_object_store(f"s3://{bucket}", {**options, "endpoint_url": proxy.url})
    proxy.fault = may("get", "list", "put")
    entry = store.probe()
    store.put_if_absent("a", b"1")
    assert store.get("a") == b"1"
    assert [info.key for info in store.list()] == ["a", entry.key]
    with pytest.raises(AccessDeniedError, match="could not be deleted") as caught:
        store.delete("a")
    assert f"s3:DeleteObject on arn:aws:s3:::{bucket}/*" in caught.value.hint


def test_a_reader_needs_get_and_list(store: RemoteObjectStore, options: dict[str, object], proxy: FaultProxy) -> None:
    store.put_if_absent("a", b"1")
    reader = open_object_store(store.uri, {**options, "endpoint_url": proxy.url})
    proxy.fault = may("get", "list")
    assert reader.get("a") == b"1"
    assert [info.key for info in reader.list()] == ["a"]
    with pytest.raises(AccessDeniedError, match=f"{store.uri}/b could not be written") as caught:
        reader.put_if_absent("b", b"")
    assert "s3:PutObject" in caught.value.hint
    proxy.fault = may("get")
    with pytest.raises(AccessDeniedError, match="could not be listed") as caught:
        list(reader.list())
    assert "s3:ListBucket" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"secrte": "planted"}, "'secrte'"),
        ({"client_kwargs": {"regio": "planted"}}, "'regio'"),
        ({"config_kwargs": {"retry": "planted"}}, "'retry'"),
        ({"use_listings_cache": True}, "'use_listings_cache'"),
    ],
)
def test_an_unknown_option_is_named(given: dict[str, object], named: str) -> None:
    with pytest.raises(UnknownOptionError, match=named) as caught:
        open_object_store("s3://bucket", given)
    assert "planted" not in str(caught.value)


def test_the_librarys_own_retries_cannot_be_switched_on() -> None:
    with pytest.raises(ConfigurationError, match="'retries'"):
        open_object_store("s3://bucket", {"config_kwargs": {"retries": {"max_attempts": 5}}})


@pytest.mark.parametrize("scheme", ["s3", "s3a", "S3"])
def test_both_schemes_lead_to_one_store(bucket: str, options: dict[str, object], scheme: str) -> None:
    assert open_object_store(f"{scheme}://{bucket}/pre/", options).uri == f"s3://{bucket}/pre"


def test_planted_secrets_are_seen_on_no_path_of_failure(
    bucket: str, planted: dict[str, object], proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    echo = " ".join(SECRETS)
    faults: list[Fault | int | tuple[int, bytes]] = [
        *[(403, s3_error(code, echo)) for code in ("AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId")],
        *[(status, s3_error("Strange", echo)) for status in (400, 404, 409, 412, 500, 501, 503, 507)],
        (200, f"<broken {echo}".encode()),
        *[Fault.RESET, Fault.HANG, Fault.LOST, Fault.CUT],
    ]
    store = short_lived(f"s3://{bucket}/pre", planted)
    uses: list[Callable[[], object]] = [
        lambda: store.get("a"),
        lambda: list(store.list()),
        lambda: store.put_if_absent("a", b"1"),
        lambda: store.delete("a"),
    ]
    seen = [repr(store), store.uri, store.address("a"), store.path("a"), repr(store._client)]
    chained: list[BaseException | None] = []
    with warnings.catch_warnings(record=True) as warned:
        for fault in faults:
            proxy.fault = lambda _, fault=fault: fault
            for use in uses:
                try:
                    use()
                except StorageError as error:
                    seen += [repr(error), traceback.format_exc(), pickle.dumps(error).decode(errors="replace")]
                    chained.append(error.__context__)
    assert len(chained) > 40, "most uses are to fail"
    assert set(chained) == {None}
    attempts: list[Callable[[], object]] = [
        lambda: pickle.dumps(store),
        lambda: open_object_store(f"s3://{SECRETS[0]}:{SECRETS[1]}@{bucket}/x"),
        lambda: open_object_store(f"s3://{bucket}/x?token={SECRETS[2]}"),
        lambda: open_object_store("s3://bucket", {**planted, "sekret": SECRETS[1]}),
        lambda: open_object_store("s3://bucket", {"endpoint_url": f"http://x:{SECRETS[1]}@host"}),
        lambda: open_object_store("s3://bucket", {"client_kwargs": SECRETS[1]}),
        lambda: short_lived("s3://bucket", {**planted, "endpoint_url": "http://127.0.0.1:1"}).get("a"),
    ]
    for attempt in attempts:
        with pytest.raises(CheckmaiteError) as caught:
            attempt()
        seen += ["".join(traceback.format_exception(caught.value))]
    shown = "\n".join([*seen, caplog.text, *(str(warning.message) for warning in warned)])
    assert "***" in shown
    for secret in SECRETS:
        assert secret not in shown


def test_secrets_of_the_environment_are_not_shown_either(
    bucket: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SECRETS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS[1])
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    proxy.spoil((403, s3_error("InvalidAccessKeyId", f"{SECRETS[0]} is unknown")))
    with pytest.raises(UnauthenticatedError, match=r"\*\*\* is unknown"):
        open_object_store(f"s3://{bucket}").get("a")


def test_a_store_without_options_travels_and_takes_credentials_where_it_arrives(
    store: RemoteObjectStore, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_if_absent("a", b"1")
    packed = pickle.dumps(open_object_store(store.uri))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setenv("AWS_ENDPOINT_URL", str(options["endpoint_url"]))
    assert pickle.loads(packed).get("a") == b"1"


def test_a_process_that_used_a_store_ends_at_once_and_in_silence(
    store: RemoteObjectStore, options: dict[str, object]
) -> None:
    program = (
        "import sys; from checkmaite_storage import open_object_store\n"
        f"store = open_object_store({store.uri!r}, {options!r})\n"
        "store.put_if_absent('a', b'1'); store.get('a'); store.filesystem.cat_file(store.path('a'))\n"
        "import os\n"
        "if (child := os.fork()) == 0:\n"
        "    store.get('a'); sys.exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    ended = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
