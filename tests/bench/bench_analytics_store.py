"""What the analytics store costs on a local disk: each figure with its floor, measured in turns in one run."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from measuring import AGGREGATE, JOIN, ROWS, bundle_of, durable_put, in_turns, milliseconds, open_store, put_aside, show

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_analytics_store._bundle import encode_bundle
from checkmaite_storage import LocalObjectStore, ObjectInfo

pytestmark = pytest.mark.bench

RUNS = 10_000
WRITES = 300
QUERIES = 30


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A store whose runs all wait in the inbox."""
    put_aside(tmp_path / "waiting", 0, RUNS)
    return tmp_path / "waiting"


@pytest.fixture
def folded(tmp_path: Path) -> Path:
    """A store whose runs are all folded, and its inbox empty."""
    root = tmp_path / "folded"
    put_aside(root, 0, RUNS)
    with open_store(root) as store:
        for _ in range(3):
            store.fold()
    assert not any((root / "inbox").iterdir())
    return root


def test_a_write_costs_as_much_at_ten_thousand_runs_as_at_none(tmp_path: Path, waiting: Path, folded: Path) -> None:
    """The floor encodes the same bundle and puts the same bytes."""
    bare = tmp_path / "bare"
    bare.mkdir()
    roots = [tmp_path / "empty", waiting, folded]
    stores = [open_store(root) for root in roots]
    numbers = itertools.count(10 * RUNS)
    for store in stores:
        store.commit(bundle_of(next(numbers)))

    def write(store: AnalyticsStore) -> Callable[[], object]:
        bundles = iter([bundle_of(next(numbers)) for _ in range(WRITES)])
        return lambda: store.commit(next(bundles))

    def floor(bundles: Iterator[Any]) -> None:
        bundle = next(bundles)
        durable_put(bare, f"{bundle.event_id}.run", encode_bundle(bundle))

    floors = iter([bundle_of(next(numbers)) for _ in range(WRITES)])
    least, empty, unfolded, full = in_turns(WRITES, lambda: floor(floors), *map(write, stores))
    target = "target: 1 ms over the floor"
    show(
        f"write of one run ({ROWS} rows in 3 tables), median and worst of {WRITES}",
        ("floor: encode, and one durable put", least, ""),
        ("into an empty store", empty, f"{empty.median - least.median:.2f} ms over the floor; {target}"),
        (f"beside {RUNS:,} waiting runs", unfolded, f"ratio {unfolded.median / empty.median:.2f}; target: 1.2"),
        (f"beside {RUNS:,} folded runs", full, f"ratio {full.median / empty.median:.2f}; target: 1.2"),
    )


class Counting(LocalObjectStore):
    """A store on the disk that counts what is asked of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.calls: Counter[str] = Counter()

    def get(self, key: str) -> bytes:
        self.calls["get"] += 1
        return super().get(key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self.calls["list"] += 1
        return super().list(prefix)

    def put_if_absent(self, key: str, data: bytes) -> None:
        self.calls["put"] += 1
        super().put_if_absent(key, data)

    def delete(self, key: str) -> None:
        self.calls["delete"] += 1
        super().delete(key)


def test_requests_per_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print("\n\nrequests per write")

    def opened() -> tuple[AnalyticsStore, Counting]:
        objects = Counting(tmp_path / "store")
        with monkeypatch.context() as patch:
            patch.setattr("checkmaite_analytics_store._store.open_object_store", lambda *_: objects)
            return open_store(tmp_path / "store"), objects

    def count(name: str, store: AnalyticsStore, objects: Counting, number: int) -> None:
        objects.calls.clear()
        store.commit(bundle_of(number))
        parts = ", ".join(f"{many} {method}" for method, many in sorted(objects.calls.items()))
        print(f"  {name:<56}{objects.calls.total():4}   ({parts})")

    store, objects = opened()
    count("the first of a new store (with its probe, 3 tables)", store, objects, 0)
    count("each further one", store, objects, 1)
    count("a repeat", store, objects, 1)
    store, objects = opened()
    count("the first of a further process", store, objects, 2)
    count("each further one", store, objects, 3)
    count("a repeat of another process's", store, objects, 1)


def test_fold(tmp_path: Path) -> None:
    root = tmp_path / "store"
    size = put_aside(root, 0, RUNS)

    def read_all() -> None:
        for path in (root / "inbox").iterdir():
            path.read_bytes()

    floor = milliseconds(read_all)
    with open_store(root, grace=3600) as store:
        fold = milliseconds(lambda: store.fold())
    with open_store(root) as store:
        reclaim = milliseconds(lambda: store.fold())
    show(
        f"fold of {RUNS:,} runs ({size / 2**20:.0f} MiB of bundles), once",
        ("floor: reading these bundles (ms)", floor, ""),
        ("fold (ms)", fold, f"{fold / floor:.1f} times the floor; target: 5000 ms"),
        ("removing them from the inbox (ms)", reclaim, "by a later fold"),
    )


def plain(root: Path, sql: str) -> Callable[[], object]:
    """The same question to DuckDB itself, on the same files."""
    with open_store(root) as store:
        for table in ("scores", "summaries", "runs"):
            files = ", ".join(f"'{file}'" for file in store.files(table))
            sql = sql.replace(f"FROM {table}", f"FROM read_parquet([{files}]) AS {table}")
            sql = sql.replace(f"JOIN {table}", f"JOIN read_parquet([{files}]) AS {table}")
    connection = duckdb.connect()
    return lambda: connection.sql(sql).to_arrow_table()


def test_folded_queries(folded: Path) -> None:
    with open_store(folded) as store:
        questions = [lambda: store.query(AGGREGATE), lambda: store.query(JOIN)]
        floors = [plain(folded, AGGREGATE), plain(folded, JOIN)]
        first = milliseconds(questions[0])
        for question in (*questions, *floors):
            question()
        aggregate, join, bare_aggregate, bare_join = in_turns(QUERIES, *questions, *floors)
    show(
        f"query of {RUNS:,} folded runs, median and worst of {QUERIES}",
        ("aggregate: bare DuckDB on the same files", bare_aggregate, ""),
        ("aggregate", aggregate, "target: 60 ms"),
        ("join with runs: bare DuckDB", bare_join, ""),
        ("join with runs", join, "target: 60 ms"),
        ("the first query of a store object (ms)", first, "checksums of the files it reads included"),
    )


NEW_PROCESS = (
    "from checkmaite_analytics_store import AnalyticsStore; import sys; AnalyticsStore(sys.argv[1]).query(sys.argv[2])"
)
NEW_BARE_PROCESS = "import duckdb, pyarrow, sys; duckdb.sql(sys.argv[2]).to_arrow_table()"


def test_the_first_query_of_a_process(folded: Path) -> None:
    with open_store(folded) as store:
        files = ", ".join(f"'{file}'" for file in store.files("scores"))
    sql = AGGREGATE.replace("FROM scores", f"FROM read_parquet([{files}])")

    def process(code: str, sql: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code, str(folded), sql], check=True)

    bare, ours = in_turns(5, process(NEW_BARE_PROCESS, sql), process(NEW_PROCESS, AGGREGATE))
    show(
        "a new process with one aggregate, Python's start included, median and worst of 5",
        ("bare DuckDB on the same files", bare, ""),
        ("the store", ours, f"{ours.median - bare.median:.0f} ms over it"),
    )


def test_unfolded_queries(waiting: Path) -> None:
    def read_all() -> None:
        for path in (waiting / "inbox").iterdir():
            path.read_bytes()

    def fresh() -> None:
        with open_store(waiting) as store:
            store.query(AGGREGATE)

    with open_store(waiting) as store:
        begun = time.perf_counter()
        store.query(AGGREGATE)
        first = (time.perf_counter() - begun) * 1e3
        floor, anew, kept = in_turns(3, read_all, fresh, lambda: store.query(AGGREGATE))
    show(
        f"aggregate over {RUNS:,} runs that nobody has folded, median and worst of 3",
        ("floor: reading these bundles", floor, ""),
        ("by a new store object", anew, "target: 1000 ms"),
        ("again by the same one", kept, ""),
        ("the first (ms)", first, ""),
    )
