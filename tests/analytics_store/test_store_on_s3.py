"""The store on a real S3 server: how many requests reading takes, and what a reader without other rights can do.

Writing goes to the server itself, reading through a proxy that counts and refuses.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_analytics_store._bundle import encode_bundle
from checkmaite_core.errors import AccessDeniedError, CorruptObjectError
from checkmaite_core.report import InlineTextReport
from checkmaite_storage import open_object_store
from checkmaite_storage.testing import FaultProxy, fault_proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

SERVER = Path(__file__).parents[1] / "storage" / "servers" / "moto_server.py"
AT_ONCE = StoreSettings(grace=0, fold_after=0)
SIZES = (400, 4_000)

Reader = tuple[AnalyticsStore, FaultProxy]


@pytest.fixture(scope="module")
def s3_port() -> Iterator[int]:
    with subprocess.Popen([sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.stdin.close()


@pytest.fixture(autouse=True)
def no_account_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def uri(s3_port: int) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    connection = http.client.HTTPConnection("127.0.0.1", s3_port)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    return f"s3://{name}/results"


@pytest.fixture
def options(s3_port: int) -> dict[str, object]:
    return {"key": "test-key-id", "secret": "test-secret-key", "endpoint_url": f"http://127.0.0.1:{s3_port}"}


@pytest.fixture
def writer(uri: str, options: dict[str, object]) -> Iterator[AnalyticsStore]:
    with AnalyticsStore(uri, options, settings=AT_ONCE) as store:
        yield store


@pytest.fixture
def open_reader(uri: str, options: dict[str, object], s3_port: int) -> Iterator[Callable[[], Reader]]:
    with fault_proxy(s3_port) as proxy:
        opened = []

        def open_one(location: str = uri) -> Reader:
            store = AnalyticsStore(location, {**options, "endpoint_url": proxy.url}, settings=AT_ONCE)
            opened.append(store)
            proxy.requests.clear()
            return store, proxy

        yield open_one
        for store in opened:
            store.close()


def kinds(proxy: FaultProxy) -> Counter[str]:
    """What was asked since the last time: listings and the reading of objects, by folder."""
    found: Counter[str] = Counter()
    for request in proxy.requests:
        if "list-type=2" in request.path:
            found["list"] += 1
        else:
            found[f"{request.method} {request.path.split('/')[3].split('?')[0]}"] += 1
    proxy.requests.clear()
    return found


def test_a_query_of_what_is_folded_takes_two_listings_and_the_ranges_that_it_needs(
    writer: AnalyticsStore, open_reader: Callable[[], Reader], make: ModuleType
) -> None:
    for number in range(3):
        writer.commit(make.scores_of(f"job-{number}", f"run-{number}", 1.0))
    writer.fold()
    writer.fold()
    writer.commit(make.scores_of("job-4", "run-4", 1.0))
    writer.fold()
    store, proxy = open_reader()
    assert store.query("SELECT sum(value) AS s FROM scores").to_pylist() == [{"s": 4.0}]
    assert kinds(proxy)["list"] == 2
    files = len(store.files("scores"))
    kinds(proxy)
    for _ in range(2):
        assert store.query("SELECT sum(value) AS s FROM scores").to_pylist() == [{"s": 4.0}]
        assert kinds(proxy) == {"list": 2, "GET tables": files}
    assert not [request for request in proxy.requests if request.method == "HEAD"]


def test_the_number_of_requests_does_not_grow_with_the_number_of_folded_runs(
    tmp_path: Path, uri: str, options: dict[str, object], open_reader: Callable[[str], Reader], make: ModuleType
) -> None:
    asked = {}
    for runs in SIZES:
        root = tmp_path / str(runs)
        with AnalyticsStore(root, settings=AT_ONCE) as local:
            local.commit(make.scores_of("first", "first", 1.0))
            for number in range(1, runs):
                event = f"job-{number}"
                (root / "inbox" / f"{event}.run").write_bytes(encode_bundle(make.scores_of(event, event, 1.0, 2.0)))
            local.fold()
            local.commit(make.scores_of("newer", "job-1", 5.0))
            local.fold()
            local.fold()
        target = open_object_store(f"{uri}/{runs}", options)
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            if path.parent.name != "inbox":
                target.put_if_absent(str(path.relative_to(root)), path.read_bytes())
        store, proxy = open_reader(f"{uri}/{runs}")
        counts = []
        for sql in (
            "SELECT label, avg(value) FROM scores GROUP BY 1",
            "SELECT label, avg(value) FROM scores GROUP BY 1",
            "SELECT count(*) FROM scores JOIN runs USING (event_id) WHERE is_current",
            "SELECT * FROM scores WHERE run_uid = 'job-7'",
        ):
            assert store.query(sql).num_rows >= 1
            counts.append(len(proxy.requests))
            proxy.requests.clear()
        assert store.reference("job-5") is not None
        asked[runs] = [*counts, len(proxy.requests)]
    small, large = asked.values()
    assert large == small
    assert max(large) <= 12


def test_a_reader_who_may_only_get_and_list_can_ask_everything_and_attempts_no_write(
    writer: AnalyticsStore, open_reader: Callable[[], Reader], make: ModuleType
) -> None:
    report = writer.put_report("job-1", InlineTextReport(content="# done", filename="report.md"))
    writer.commit(make.bundle_of("job-1", "run-1", [make.Score(run_uid="run-1", label="a", value=1.0)], report))
    writer.fold()
    writer.commit(make.scores_of("job-2", "run-2", 2.0))
    store, proxy = open_reader()
    proxy.fault = lambda request: None if request.method in ("GET", "HEAD") else 403
    assert store.query("SELECT count(*) AS n FROM scores").to_pylist() == [{"n": 2}]
    assert store.tables() == ["runs", "scores"]
    assert store.schema("scores")["value"] == "float64"
    assert [file.startswith("s3://") for file in store.files("scores")] == [True]
    for event in ("job-1", "job-2"):
        reference = store.reference(event)
        assert reference is not None
        assert store.read_report(reference) == ("# done" if event == "job-1" else None)
    assert store.verify().ok
    assert {request.method for request in proxy.requests} == {"GET"}
    for attempt in (
        lambda: store.commit(make.scores_of("job-3", "run-3", 3.0)),
        store.fold,
        lambda: store.settle("job-4"),
    ):
        with pytest.raises(AccessDeniedError, match="s3:PutObject"):
            attempt()
    assert store.query("SELECT count(*) AS n FROM scores").to_pylist() == [{"n": 2}]


def test_a_reader_who_may_not_read_the_tables_is_told_so_by_the_store(
    writer: AnalyticsStore, open_reader: Callable[[], Reader], make: ModuleType
) -> None:
    writer.commit(make.scores_of("job-1", "run-1", 1.0))
    writer.fold()
    store, proxy = open_reader()
    proxy.fault = lambda request: 403 if "/tables/" in request.path else None
    with pytest.raises(AccessDeniedError, match=r"tables/scores/.*(?s:.)*s3:GetObject") as caught:
        store.query("SELECT * FROM scores")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_file_that_is_gone_or_damaged_at_the_server_is_named(
    writer: AnalyticsStore, uri: str, options: dict[str, object], open_reader: Callable[[], Reader], make: ModuleType
) -> None:
    writer.commit(make.scores_of("job-1", "run-1", *(float(number) for number in range(1000))))
    writer.fold()
    objects = open_object_store(uri, options)
    [key] = [info.key for info in objects.list("tables/scores/")]
    data = bytearray(objects.get(key))
    data[200] ^= 1
    objects.delete(key)
    with pytest.raises(CorruptObjectError, match="it is gone"):
        open_reader()[0].query("SELECT * FROM scores")
    objects.put_if_absent(key, bytes(data))
    with pytest.raises(CorruptObjectError, match=key):
        open_reader()[0].query("SELECT * FROM scores")


def test_many_unfolded_runs_are_read_at_the_same_time(
    writer: AnalyticsStore, open_reader: Callable[[], Reader], make: ModuleType
) -> None:
    for number in range(40):
        writer.commit(make.scores_of(f"job-{number}", f"run-{number}", float(number)))
    store, proxy = open_reader()
    assert store.query("SELECT sum(value) AS s FROM scores").to_pylist() == [{"s": float(sum(range(40)))}]
    assert kinds(proxy) == {"GET store.json": 1, "list": 3, "GET inbox": 40}  # inbox, manifests, schemas
    assert store.query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 40}]
    assert kinds(proxy) == {"list": 2}
