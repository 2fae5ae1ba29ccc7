"""The Azure connector against azurite."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from checkmaite_core.errors import (
    AccessDeniedError,
    ConfigurationError,
    ContainerNotFoundError,
    ObjectExistsError,
    ObjectNotFoundError,
    PluginNotFoundError,
    StorageUnreachableError,
    UnauthenticatedError,
    UnknownOptionError,
)
from checkmaite_storage import ObjectStore, open_object_store
from checkmaite_storage._remote import RemoteObjectStore, RetryPolicy
from checkmaite_storage.testing import Fault

if TYPE_CHECKING:
    from conftest import Azure

    from checkmaite_storage.testing import FaultProxy


@pytest.fixture
def store(azure: Azure, container: str) -> ObjectStore:
    return open_object_store(f"az://{container}/some/prefix", azure.connection())


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


@pytest.mark.parametrize("size", [0, 5, 33 * 2**20, 70 * 2**20], ids=["empty", "small", "33 MiB", "70 MiB"])
def test_every_put_is_one_request_with_the_condition(
    azure: Azure, container: str, azure_proxy: FaultProxy, size: int
) -> None:
    store = open_object_store(f"az://{container}", azure.connection(url=azure_proxy.url))
    store.put_if_absent("a", b"x" * size)
    (request,) = azure_proxy.requests
    assert (request.method, request.headers["if-none-match"]) == ("PUT", "*")
    assert store.get("a") == b"x" * size
    with pytest.raises(ObjectExistsError, match=f"az://{container}/a exists"):
        store.put_if_absent("a", b"y" * size)
    assert store.get("a") == b"x" * size
    assert not any("comp=block" in request.path for request in azure_proxy.requests)


def test_of_several_large_puts_of_one_key_one_wins(azure: Azure, container: str) -> None:
    store = open_object_store(f"az://{container}", azure.connection())
    winners: list[int] = []

    def write(number: int) -> None:
        try:
            store.put_if_absent("contended", bytes([number]) * 2**20)
        except ObjectExistsError:
            return
        winners.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = winners
    assert store.get("contended") == bytes([winner]) * 2**20


RACER = """
import sys
from checkmaite_core.errors import ObjectExistsError
from checkmaite_storage import open_object_store
uri, connection, me = sys.argv[1:]
store = open_object_store(uri, {"connection_string": connection})
assert list(store.list()) == []
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    try:
        store.put_if_absent(f"{number:02}", me.encode())
    except ObjectExistsError:
        pass
    else:
        print(f"{number:02}", flush=True)
"""


def test_of_racing_processes_exactly_one_wins_each_key(azure: Azure, container: str, store: ObjectStore) -> None:
    command = [sys.executable, "-c", RACER, store.uri, azure.connection()["connection_string"]]
    racers = [
        subprocess.Popen([*command, str(me)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for me in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [(key, str(me)) for me, racer in enumerate(racers) for key in racer.communicate()[0].split()]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert len(won) == 40
    assert {key: store.get(key).decode() for key in keys(store)} == dict(won)


def test_a_put_whose_answer_got_lost_knows_its_own_object(
    azure: Azure, container: str, azure_proxy: FaultProxy
) -> None:
    store = open_object_store(f"az://{container}", azure.connection(url=azure_proxy.url))
    azure_proxy.spoil(Fault.LOST)
    store.put_if_absent("a", b"mine")
    assert [request.method for request in azure_proxy.requests] == ["PUT", "PUT", "HEAD"]
    azure_proxy.spoil(Fault.LOST)
    with pytest.raises(ObjectExistsError):
        store.put_if_absent("a", b"another's")
    assert store.get("a") == b"mine"


def test_a_connection_that_is_lost_again_and_again_is_not_taken_for_one_that_was_never_made(
    azure: Azure, container: str, azure_proxy: FaultProxy
) -> None:
    store = open_object_store(f"az://{container}", azure.connection(url=azure_proxy.url))
    assert isinstance(store, RemoteObjectStore)
    impatient = RemoteObjectStore(store._client, RetryPolicy(connect_deadline=0))
    azure_proxy.spoil(*[Fault.LOST] * 3)
    impatient.put_if_absent("a", b"mine")
    assert store.get("a") == b"mine"


@pytest.mark.parametrize("spoiled", [409, 429, 500, 503])
def test_a_passing_failure_is_retried(azure: Azure, container: str, azure_proxy: FaultProxy, spoiled: int) -> None:
    store = open_object_store(f"az://{container}", azure.connection(url=azure_proxy.url))
    azure_proxy.fault = lambda _: spoiled if len(azure_proxy.requests) % 2 else None
    store.put_if_absent("a", b"1")
    assert store.get("a") == b"1"
    assert keys(store) == ["a"]
    store.delete("a")
    assert len(azure_proxy.requests) == 8  # each twice: the SDK repeats nothing in secret


def test_a_listing_is_read_page_by_page(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checkmaite_storage._azure_client._PAGE", 2)
    for number in range(5):
        store.put_if_absent(f"a/{number}", b"")
    assert keys(store) == [f"a/{number}" for number in range(5)]
    assert keys(store, "a/3") == ["a/3"]


def test_folders_of_a_hierarchical_account_are_not_objects(azure: Azure, container: str, store: ObjectStore) -> None:
    from azure.storage.blob import BlobServiceClient

    store.put_if_absent("a/b", b"1")
    with BlobServiceClient.from_connection_string(azure.connection()["connection_string"]) as service:
        service.get_blob_client(container, "some/prefix/a").upload_blob(b"", metadata={"hdi_isfolder": "true"})
    assert keys(store) == ["a/b"]


def call_all(store: ObjectStore) -> dict[str, Callable[[], Any]]:
    return {
        "get": lambda: store.get("a"),
        "list": lambda: list(store.list()),
        "put": lambda: store.put_if_absent("b", b"1"),
        "delete": lambda: store.delete("a"),
    }


@pytest.mark.parametrize(
    ("rights", "allowed"),
    [("rl", {"get", "list"}), ("rlc", {"get", "list", "put"}), ("rlcd", {"get", "list", "put", "delete"})],
    ids=["reader", "worker", "folder"],
)
def test_each_user_of_a_store_needs_these_rights_and_no_more(
    azure: Azure, container: str, rights: str, allowed: set[str]
) -> None:
    open_object_store(f"az://{container}", azure.connection()).put_if_absent("a", b"1")
    limited = open_object_store(f"az://{container}", azure.connection(sas=azure.sas(container, rights)))
    for verb, call in call_all(limited).items():
        if verb in allowed:
            call()
        else:
            with pytest.raises(AccessDeniedError, match=r"AuthorizationPermissionMismatch.*\n.*right") as caught:
                call()
            assert container in caught.value.uri
    if "put" in allowed:
        limited.probe()


def test_an_absent_container_is_told_from_an_absent_object(azure: Azure, container: str) -> None:
    with pytest.raises(ObjectNotFoundError, match=f"az://{container}/a"):
        open_object_store(f"az://{container}", azure.connection()).get("a")
    absent = open_object_store("az://not-there/x", azure.connection())
    for call in call_all(absent).values():
        with pytest.raises(ContainerNotFoundError, match=r"az://not-there.*\n.*az storage container create") as caught:
            call()
        assert "az://not-there" in caught.value.uri


def wrong(azure: Azure, which: str, container: str) -> dict[str, Any]:
    if which == "key":
        return azure.connection(key="cGxhbnRlZHNlY3JldHBsYW50ZWRzZWNyZXQ=")
    sas = azure.sas(container, "rl")
    if which == "signature":
        return azure.connection(sas=sas[: sas.index("sig=")] + "sig=cGxhbnRlZHNlY3JldHBsYW50ZWRzZWNyZXQ%3D")
    return {"connection_string": f"BlobEndpoint=http://127.0.0.1:{azure.port}/devstoreaccount1"}


@pytest.mark.parametrize("which", ["key", "signature", "none"])
def test_wrong_and_missing_credentials_are_told_from_missing_rights(azure: Azure, container: str, which: str) -> None:
    store = open_object_store(f"az://{container}", wrong(azure, which, container))
    for call in call_all(store).values():
        with pytest.raises(
            UnauthenticatedError, match=r"AuthorizationFailure.*\n.*AZURE_STORAGE_ACCOUNT_KEY"
        ) as caught:
            call()
        shown = f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"
        assert container in shown
        assert "cGxhbnRlZ" not in shown


def test_no_credentials_at_all_are_said_to_be_missing_before_long(container: str) -> None:
    options = {"account_name": "nosuchaccount", "exclude_managed_identity_credential": True}
    store = open_object_store(f"az://{container}", options)
    start = time.monotonic()
    with pytest.raises(UnauthenticatedError, match="az login"):
        store.get("a")
    assert time.monotonic() - start < 20


def test_a_dead_port_is_unreachable_within_the_deadline(azure: Azure, container: str) -> None:
    store = open_object_store(f"az://{container}", azure.connection(url="http://127.0.0.1:9"))
    assert isinstance(store, RemoteObjectStore)
    hurried = RemoteObjectStore(store._client, RetryPolicy(connect_deadline=0.5))
    start = time.monotonic()
    with pytest.raises(StorageUnreachableError, match=rf"az://{container}/a .*attempts in .*\n.*network"):
        hurried.get("a")
    assert time.monotonic() - start < 5


def test_secrets_show_nowhere(azure: Azure, container: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    options = azure.connection()
    store = open_object_store(f"az://{container}", options)
    with pytest.raises(ObjectNotFoundError) as caught:
        store.get("a")
    with pytest.raises(ConfigurationError, match="cannot be pickled") as refused:
        pickle.dumps(store)
    broken = open_object_store(f"az://{container}", {"connection_string": "AccountKey=planted;no equals"})
    with pytest.raises(ConfigurationError, match="connection_string") as other:
        broken.get("a")
    shown = f"{store!r} {store.uri} {caught.value} {refused.value} {other.value} {caplog.text}"
    for secret in (options["connection_string"], options["connection_string"].split("AccountKey=")[1][:40], "planted"):
        assert secret not in shown


@pytest.mark.parametrize(
    "uri",
    [
        "az://user:hunter2@con/x",
        "az://hunter2@con/x",
        "abfs://con@hunter2.example.com/x",
        "abfs://con:hunter2@acc.dfs.core.windows.net/x",
        "az://con/x?sig=hunter2",
        "az://con/x#hunter2",
        "az://con@acc.dfs.core.windows.net/x?sv=1&sig=hunter2",
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="storage_options") as caught:
        open_object_store(uri, {"account_name": "acc"})
    assert "hunter2" not in str(caught.value)


def test_a_uri_may_name_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "abfss://con@acc.dfs.core.windows.net/some/prefix"
    store = open_object_store(uri, {"account_key": "a2V5"})
    assert store.uri == uri
    assert store.address("a") == f"{uri}/a"
    assert store.path("a") == "con/some/prefix/a"
    assert store.filesystem.account_name == "acc"
    assert store.filesystem.service_client.url == "https://acc.blob.core.windows.net/"
    with pytest.raises(ConfigurationError, match=r"'acc'.*'other'"):
        open_object_store(uri, {"account_name": "other"})
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=third;AccountKey=a2V5")
    with pytest.raises(ConfigurationError, match="the connection string another one"):
        _ = open_object_store(uri).filesystem


def test_a_location_without_an_account_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="account_name"):
        open_object_store("az://con/x")


@pytest.mark.parametrize("name", ["UPPER", "ab", "a--b", "-ab", "a_b"])
def test_a_name_that_no_container_can_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        open_object_store(f"az://{name}/x", {"account_name": "acc"})


def test_options_pass_through_and_unknown_ones_are_refused_by_name() -> None:
    with pytest.raises(UnknownOptionError, match=r"'acount_key'.*\n.*'account_key'") as caught:
        open_object_store("az://con/x", {"account_name": "acc", "acount_key": "hunter2"})
    assert "hunter2" not in str(caught.value)
    options = {"account_name": "acc", "account_key": "a2V5"}
    assert open_object_store("az://con/x", options).filesystem.account_key == "a2V5"


def test_tables_read_ranges_through_the_filesystem(store: ObjectStore) -> None:
    table = pa.table({"a": range(1000), "b": [str(number) for number in range(1000)]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    store.put_if_absent("t/data.parquet", sink.getvalue().to_pybytes())
    read = ds.dataset([store.path("t/data.parquet")], filesystem=store.filesystem).to_table(
        columns=["a"], filter=ds.field("a") >= 990
    )
    assert read.column("a").to_pylist() == list(range(990, 1000))


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.LOST, Fault.CUT], ids=lambda fault: fault.name)
def test_an_answer_that_does_not_arrive_whole_is_asked_for_again(
    azure: Azure, container: str, azure_proxy: FaultProxy, fault: Fault
) -> None:
    store = open_object_store(f"az://{container}", azure.connection(url=azure_proxy.url))
    data = os.urandom(2**20)
    store.put_if_absent("a", data)
    azure_proxy.spoil(fault)
    assert store.get("a") == data


FORKING = """
import os, sys
from checkmaite_storage import open_object_store
store = open_object_store(sys.argv[1], {"connection_string": sys.argv[2]})
store.put_if_absent("a", b"1")
if os.fork() == 0:
    assert store.get("a") == b"1"
    sys.exit(3)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_forked_child_that_ends_of_itself_does_not_wait_for_its_parents_connections(
    azure: Azure, store: ObjectStore
) -> None:
    command = [sys.executable, "-c", FORKING, store.uri, azure.connection()["connection_string"]]
    assert subprocess.run(command, timeout=60, check=False, capture_output=True).returncode == 3


def test_nothing_is_left_open_when_a_process_ends(azure: Azure, store: ObjectStore) -> None:
    code = FORKING.partition("if os.fork")[0]
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", code, store.uri]
    done = subprocess.run(
        [*command, azure.connection()["connection_string"]], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_missing_library_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(PluginNotFoundError, match=r'pip install "checkmaite-storage\[azure\]"'):
        open_object_store("az://con/x", {"account_name": "acc"})
