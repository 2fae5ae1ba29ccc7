"""The GCS connector against gcp-storage-emulator, which knows no conditions and no credentials."""

from __future__ import annotations

import base64
import http.server
import json
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from checkmaite_core.errors import (
    AccessDeniedError,
    ConditionalPutError,
    ConfigurationError,
    ContainerNotFoundError,
    CorruptObjectError,
    ObjectExistsError,
    ObjectNotFoundError,
    PluginNotFoundError,
    StorageError,
    StorageFullError,
    StorageUnreachableError,
    UnauthenticatedError,
    UnknownOptionError,
)
from checkmaite_storage import ObjectStore, open_object_store
from checkmaite_storage._remote import RemoteObjectStore, RetryPolicy
from checkmaite_storage.testing import Fault

if TYPE_CHECKING:
    from conftest import Gcs

    from checkmaite_storage.testing import FaultProxy, ProxiedRequest

UNSAFE = "unsafe_allow_unconditional_put_for_tests"


@pytest.fixture
def store(gcs: Gcs, bucket: str) -> ObjectStore:
    return open_object_store(f"gs://{bucket}/some/prefix", gcs.options())


@pytest.fixture
def proxied(gcs: Gcs, bucket: str, gcs_proxy: FaultProxy) -> ObjectStore:
    """As users open it, behind the proxy."""
    return open_object_store(f"gs://{bucket}", gcs.options(url=gcs_proxy.url, unsafe=False))


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


def answer(status: int, reason: str = "", message: str = "said by the test") -> tuple[int, bytes]:
    """An error as the API writes it."""
    return status, json.dumps({"error": {"message": message, "errors": [{"reason": reason}]}}).encode()


@pytest.mark.parametrize("size", [0, 5, 33 * 2**20], ids=["empty", "small", "33 MiB"])
def test_a_put_is_one_request_with_the_condition_whatever_its_size(
    proxied: ObjectStore, gcs_proxy: FaultProxy, size: int
) -> None:
    proxied.put_if_absent("a", b"x" * size)
    (request,) = gcs_proxy.requests
    assert request.method == "POST"
    assert "uploadType=multipart" in request.path
    assert "ifGenerationMatch=0" in request.path
    assert proxied.get("a") == b"x" * size


@pytest.mark.parametrize("content", [b"\r\n--", b"\n--==0==--\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0\r\n"])
def test_no_content_is_taken_for_the_end_of_the_upload(store: ObjectStore, content: bytes) -> None:
    store.put_if_absent("a", b"before" + content + b"after")
    assert store.get("a") == b"before" + content + b"after"


def test_the_answer_that_the_condition_does_not_hold_is_understood(proxied: ObjectStore, gcs_proxy: FaultProxy) -> None:
    """As Google answers; the emulator does not."""
    gcs_proxy.spoil(answer(412, "conditionNotMet"))
    with pytest.raises(ObjectExistsError, match="/a exists"):
        proxied.put_if_absent("a", b"1")


def test_a_server_that_ignores_the_condition_is_refused_by_the_probe(gcs: Gcs, bucket: str) -> None:
    store = open_object_store(f"gs://{bucket}", gcs.options(unsafe=False))
    with pytest.raises(ConditionalPutError, match=f"gs://{bucket} does not honour put-if-absent"):
        store.probe()
    assert keys(store) == []


def test_the_way_out_for_tests_looks_before_it_puts(gcs: Gcs, bucket: str, gcs_proxy: FaultProxy) -> None:
    store = open_object_store(f"gs://{bucket}", gcs.options(url=gcs_proxy.url))
    store.put_if_absent("a", b"1")
    with pytest.raises(ObjectExistsError):
        store.put_if_absent("a", b"2")
    assert store.get("a") == b"1"
    assert [request.method for request in gcs_proxy.requests] == ["GET", "GET", "POST", "GET", "GET"]


@pytest.mark.parametrize(
    "options",
    [
        {UNSAFE: True},
        {UNSAFE: True, "endpoint_url": "https://storage.googleapis.com"},
        {UNSAFE: True, "endpoint_url": "https://bucket.storage.googleapis.com:443"},
        {UNSAFE: True, "endpoint_url": ""},
        {UNSAFE: "yes", "endpoint_url": "http://127.0.0.1:9"},
    ],
)
def test_the_way_out_for_tests_is_refused_without_an_emulator(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="for tests against an emulator"):
        open_object_store("gs://bucket/x", {"token": "anon", **options})


def test_a_put_whose_answer_got_lost_knows_its_own_object(proxied: ObjectStore, gcs_proxy: FaultProxy) -> None:
    faults: Iterator[Any] = iter([Fault.LOST, answer(412, "conditionNotMet")])
    gcs_proxy.fault = lambda _: next(faults, None)
    proxied.put_if_absent("a", b"mine")
    assert [request.method for request in gcs_proxy.requests] == ["POST", "POST", "GET"]
    faults = iter([Fault.LOST, answer(412, "conditionNotMet"), None])

    def of_another(request: ProxiedRequest) -> Any:
        if request.method == "GET":
            return 200, b'{"metadata": {"checkmaite-token": "another"}}'
        return next(faults, None)

    gcs_proxy.fault = of_another
    with pytest.raises(ObjectExistsError):
        proxied.put_if_absent("b", b"mine")


@pytest.mark.parametrize("spoiled", [409, 429, 500, 503, Fault.RESET], ids=str)
def test_a_passing_failure_is_retried(proxied: ObjectStore, gcs_proxy: FaultProxy, spoiled: int | Fault) -> None:
    for call in (
        lambda: proxied.put_if_absent("a", b"1"),
        lambda: proxied.get("a"),
        lambda: keys(proxied),
        lambda: proxied.delete("a"),
    ):
        gcs_proxy.spoil(spoiled)
        gcs_proxy.requests.clear()
        call()
        assert len(gcs_proxy.requests) == 2
    gcs_proxy.spoil(answer(403, "rateLimitExceeded"))
    assert keys(proxied) == []


def test_the_library_retries_nothing_beyond_the_deadline(proxied: ObjectStore, gcs_proxy: FaultProxy) -> None:
    assert isinstance(proxied, RemoteObjectStore)
    hurried = RemoteObjectStore(proxied._client, RetryPolicy(deadline=0.5))
    gcs_proxy.fault = lambda _: 503
    start = time.monotonic()
    with pytest.raises(StorageUnreachableError, match="attempts in"):
        hurried.get("a")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.CUT], ids=lambda fault: fault.name)
def test_an_answer_that_does_not_arrive_whole_is_asked_for_again(
    proxied: ObjectStore, gcs_proxy: FaultProxy, fault: Fault
) -> None:
    assert isinstance(proxied, RemoteObjectStore)
    hurried = RemoteObjectStore(proxied._client, RetryPolicy(attempt_timeout=0.5))
    hurried.put_if_absent("a", b"x" * 1000)
    gcs_proxy.spoil(fault)
    assert hurried.get("a") == b"x" * 1000


def test_content_that_does_not_match_its_checksum_is_corrupt(bucket: str) -> None:
    """A server of our own, as the emulator keeps what it was given."""
    wrong = base64.b64encode(b"0" * 16).decode()
    with stub(lambda _: (200, {"X-Goog-Hash": f"crc32c=AAAAAA==,md5={wrong}"}, b"content")) as url:
        store = open_object_store(f"gs://{bucket}", {"token": "anon", "endpoint_url": url})
        with pytest.raises(CorruptObjectError, match=f"gs://{bucket}/a"):
            store.get("a")


def test_a_listing_is_read_page_by_page(bucket: str) -> None:
    """A server of our own, as the emulator answers everything on one page."""

    def page(path: str) -> tuple[int, dict[str, str], bytes]:
        more = "pageToken=second" not in path
        name = "p/a" if more else "p/b"
        item = {"name": name, "size": "3", "timeCreated": "2026-01-02T03:04:05.678Z"}
        return 200, {}, json.dumps({"items": [item], **({"nextPageToken": "second"} if more else {})}).encode()

    with stub(page) as url:
        store = open_object_store(f"gs://{bucket}/p", {"token": "anon", "endpoint_url": url})
        assert [(info.key, info.size, info.last_modified.isoformat()) for info in store.list()] == [
            ("a", 3, "2026-01-02T03:04:05.678000+00:00"),
            ("b", 3, "2026-01-02T03:04:05.678000+00:00"),
        ]


def call_all(store: ObjectStore) -> dict[str, Callable[[], Any]]:
    return {
        "get": lambda: store.get("a"),
        "list": lambda: list(store.list()),
        "create": lambda: store.put_if_absent("b", b"1"),
        "delete": lambda: store.delete("a"),
    }


@pytest.mark.parametrize(
    ("said", "error", "remedy"),
    [
        (answer(401, "required", "Anonymous caller does not have access"), UnauthenticatedError, "gcloud auth"),
        (answer(403, "forbidden", "sa@x does not have access"), AccessDeniedError, "storage.objects.{verb}"),
        (answer(403, "quotaExceeded"), StorageFullError, "quota"),
        (answer(400, "invalid"), StorageError, "storage_options"),
    ],
    ids=["unauthenticated", "denied", "full", "other"],
)
def test_each_refusal_of_the_api_is_its_own_error(
    proxied: ObjectStore, gcs_proxy: FaultProxy, said: tuple[int, bytes], error: type[StorageError], remedy: str
) -> None:
    """As Google answers; the emulator refuses nothing."""
    gcs_proxy.fault = lambda _: said
    for verb, call in call_all(proxied).items():
        with pytest.raises(error) as caught:
            call()
        assert type(caught.value) is error
        assert remedy.format(verb=verb) in caught.value.hint
        assert proxied.uri in caught.value.message


def test_an_absent_bucket_is_told_from_an_absent_object(gcs: Gcs, bucket: str, gcs_proxy: FaultProxy) -> None:
    with pytest.raises(ObjectNotFoundError, match=f"gs://{bucket}/a"):
        open_object_store(f"gs://{bucket}", gcs.options(url=gcs_proxy.url)).get("a")
    assert len(gcs_proxy.requests) == 2  # and one where the object is there
    for unsafe in (True, False):
        absent = open_object_store("gs://not-there/x", gcs.options(unsafe=unsafe))
        for call in call_all(absent).values():
            with pytest.raises(ContainerNotFoundError, match=r"gs://not-there.*\n.*gcloud storage buckets create"):
                call()


def test_a_dead_port_is_unreachable_within_the_deadline(gcs: Gcs, bucket: str) -> None:
    store = open_object_store(f"gs://{bucket}", gcs.options(url="http://127.0.0.1:9"))
    assert isinstance(store, RemoteObjectStore)
    hurried = RemoteObjectStore(store._client, RetryPolicy(connect_deadline=0.5))
    start = time.monotonic()
    with pytest.raises(StorageUnreachableError, match=rf"gs://{bucket}/a .*attempts in .*\n.*endpoint_url"):
        hurried.get("a")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("token", [None, "google_default"])
def test_missing_credentials_are_said_to_be_missing_before_long(
    gcs: Gcs, bucket: str, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whether this machine is one of Google's is asked of an address where nothing listens.
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:9")
    options = {"endpoint_url": f"http://127.0.0.1:{gcs.port}", **({"token": token} if token else {})}
    store = open_object_store(f"gs://{bucket}", options)
    start = time.monotonic()
    with pytest.raises(UnauthenticatedError, match=rf"gs://{bucket}.*\n.*gcloud auth application-default login"):
        store.get("a")
    assert time.monotonic() - start < 15


def test_a_broken_credentials_file_is_refused_without_its_content(tmp_path: Any, bucket: str) -> None:
    path = tmp_path / "key.json"
    path.write_text('{"private_key": "planted"}')
    with pytest.raises(ConfigurationError, match="cannot be used") as caught:
        open_object_store(f"gs://{bucket}", {"token": str(path)}).get("a")
    assert "planted" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="does not exist"):
        open_object_store(f"gs://{bucket}", {"token": str(tmp_path / "absent.json")})


def test_credentials_that_cannot_be_renewed_are_told_from_missing_ones(tmp_path: Any, gcs: Gcs, bucket: str) -> None:
    with stub(lambda _: (400, {}, b'{"error": "invalid_grant", "error_description": "planted"}')) as url:
        from google.oauth2.credentials import Credentials

        expired = Credentials(  # type: ignore[no-untyped-call]
            None, refresh_token="planted", client_id="id", client_secret="planted", token_uri=url
        )
        options = {"token": expired, "endpoint_url": f"http://127.0.0.1:{gcs.port}"}
        store = open_object_store(f"gs://{bucket}", options)
        with pytest.raises(UnauthenticatedError, match="could not be renewed") as caught:
            store.get("a")
        assert "planted" not in str(caught.value)


def test_an_access_token_is_sent_and_shown_nowhere(
    gcs: Gcs, bucket: str, gcs_proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    store = open_object_store(f"gs://{bucket}", {"token": "ya29.planted", "endpoint_url": gcs_proxy.url})
    gcs_proxy.fault = lambda _: answer(401, "authError", "Invalid Credentials: ya29.planted")
    with pytest.raises(UnauthenticatedError) as caught:
        store.get("a")
    assert gcs_proxy.requests[0].headers["authorization"] == "Bearer ya29.planted"
    with pytest.raises(ConfigurationError, match="cannot be pickled") as refused:
        pickle.dumps(store)
    shown = f"{store!r} {store.uri} {caught.value} {caught.value.__context__} {refused.value} {caplog.text}"
    assert "planted" not in shown


@pytest.mark.parametrize(
    "uri", ["gs://hunter2@bucket/x", "gs://u:hunter2@bucket/x", "gs://bucket/x?access_token=hunter2", "gs://b/#hunter2"]
)
def test_credentials_in_a_uri_are_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="token") as caught:
        open_object_store(uri, {"token": "anon"})
    assert "hunter2" not in str(caught.value)


def test_credentials_in_the_endpoint_are_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="endpoint_url") as caught:
        open_object_store("gs://bucket", {"token": "anon", "endpoint_url": "http://u:hunter2@host"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["UPPER", "ab", "-abc", "a b"])
def test_a_name_that_no_bucket_can_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        open_object_store(f"gs://{name}/x", {"token": "anon"})


def test_options_pass_through_and_unknown_ones_are_refused_by_name() -> None:
    with pytest.raises(UnknownOptionError, match=r"'tokn'.*\n.*'token'") as caught:
        open_object_store("gs://bucket/x", {"tokn": "hunter2"})
    assert "hunter2" not in str(caught.value)
    filesystem = open_object_store(
        "gcs://bucket/x", {"token": "anon", "project": "p", "requester_pays": True}
    ).filesystem
    assert (filesystem.project, filesystem.requester_pays) == ("p", True)


def test_a_requester_who_pays_says_so(gcs: Gcs, bucket: str, gcs_proxy: FaultProxy) -> None:
    options = {"token": "anon", "endpoint_url": gcs_proxy.url, "requester_pays": "payer"}
    keys(open_object_store(f"gs://{bucket}", options))
    assert "userProject=payer" in gcs_proxy.requests[0].path


def test_tables_read_ranges_through_the_filesystem(store: ObjectStore) -> None:
    table = pa.table({"a": range(1000), "b": [str(number) for number in range(1000)]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    store.put_if_absent("t/data.parquet", sink.getvalue().to_pybytes())
    read = ds.dataset([store.path("t/data.parquet")], filesystem=store.filesystem).to_table(
        columns=["a"], filter=ds.field("a") >= 990
    )
    assert read.column("a").to_pylist() == list(range(990, 1000))


ENDING = """
import sys
from checkmaite_storage import open_object_store
open_object_store(sys.argv[1], {"token": "anon", "endpoint_url": sys.argv[2]}).put_if_absent("a", b"1")
"""


def test_nothing_is_left_open_when_a_process_ends(gcs: Gcs, store: ObjectStore) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-c", ENDING, store.uri]
    done = subprocess.run([*command, f"http://127.0.0.1:{gcs.port}"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_missing_library_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(PluginNotFoundError, match=r'pip install "checkmaite-storage\[gcs\]"'):
        open_object_store("gs://bucket/x", {"token": "anon"})


class stub:  # noqa: N801 - used as a function
    """A server that answers every request by a function of its path."""

    def __init__(self, respond: Callable[[str], tuple[int, dict[str, str], bytes]]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def reply(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, content = respond(self.path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = reply  # noqa: N815 - the base class calls them so

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
