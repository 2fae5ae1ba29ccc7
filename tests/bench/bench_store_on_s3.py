"""What the analytics store asks of S3, counted on moto's server; times would be the server's, so there are none."""

from __future__ import annotations

import http.client
import itertools
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from measuring import AGGREGATE, JOIN, bundle_of

from checkmaite_analytics_store import AnalyticsStore, StoreSettings
from checkmaite_analytics_store._bundle import encode_bundle
from checkmaite_storage import open_object_store
from checkmaite_storage.testing import FaultProxy, fault_proxy

pytestmark = pytest.mark.bench

SIZES = (1_000, 10_000)
SERVER = Path(__file__).parents[1] / "storage" / "servers" / "moto_server.py"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with subprocess.Popen([sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.stdin.close()


@pytest.fixture
def proxy(port: int) -> Iterator[FaultProxy]:
    with fault_proxy(port) as running:
        yield running


@pytest.fixture
def open_store(port: int, proxy: FaultProxy) -> Callable[[], AnalyticsStore]:
    """Opens one store anew, as a further process would, such that its requests are counted."""
    bucket = f"bucket-{uuid.uuid4().hex}"
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("PUT", f"/{bucket}")
    assert connection.getresponse().status == 200
    connection.close()
    options = {"key": "test-key-id", "secret": "test-secret-key", "endpoint_url": proxy.url}
    settings = StoreSettings(grace=0, fold_after=0)
    return lambda: AnalyticsStore(f"s3://{bucket}/store", options, settings=settings)


def requests(proxy: FaultProxy) -> str:
    """What was asked since the last time."""
    found: Counter[str] = Counter()
    for request in proxy.requests:
        found["LIST" if "list-type=2" in request.path else request.method] += 1
    proxy.requests.clear()
    return f"{found.total():6,}   ({', '.join(f'{many:,} {method}' for method, many in sorted(found.items()))})"


@pytest.mark.parametrize("runs", SIZES)
def test_requests(port: int, proxy: FaultProxy, open_store: Callable[[], AnalyticsStore], runs: int) -> None:
    def count(name: str, action: Callable[[], object]) -> None:
        action()
        print(f"  {name:<56}{requests(proxy)}")

    print(f"\n\nrequests to S3, {runs:,} runs")
    numbers = itertools.count(10 * runs)
    store = open_store()
    count("the first write of a new store (with its probe)", lambda: store.commit(bundle_of(next(numbers))))
    direct = open_object_store(
        store.uri,
        {"key": "test-key-id", "secret": "test-secret-key", "endpoint_url": f"http://127.0.0.1:{port}"},
    )
    with ThreadPoolExecutor(16) as threads:
        for _ in threads.map(
            lambda number: direct.put_if_absent(f"inbox/run-{number:08d}.run", encode_bundle(bundle_of(number))),
            range(runs),
        ):
            pass
    store = open_store()
    count("the first write of a further process", lambda: store.commit(bundle_of(next(numbers))))
    count("each further one", lambda: store.commit(bundle_of(next(numbers))))
    count("a repeat", lambda: store.commit(bundle_of(10 * runs + 2)))
    count("a repeat of another process's", lambda: store.commit(bundle_of(0)))
    count("fold of all", store.fold)
    count(
        "the next fold: one more, and removing the others",
        lambda: (store.commit(bundle_of(next(numbers))), proxy.requests.clear(), store.fold()),
    )
    count("the first write, all being folded", lambda: open_store().commit(bundle_of(next(numbers))))
    store.fold()
    proxy.requests.clear()
    with open_store() as reader:
        count("aggregate, the first query of a process", lambda: reader.query(AGGREGATE))
        count("aggregate, again", lambda: reader.query(AGGREGATE))
        count("join with runs", lambda: reader.query(JOIN))
        count("join with runs, again", lambda: reader.query(JOIN))
    store.close()
