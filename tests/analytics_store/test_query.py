from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core.errors import ConfigurationError, PluginNotFoundError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


@pytest.fixture
def mixed(open_store: Callable[..., AnalyticsStore], make: ModuleType) -> AnalyticsStore:
    """A store with folded and new events, one of which is outdated."""
    store = open_store()
    store.commit(make.scores_of("job-1", "run-a", 1.0, 2.0))
    store.commit(make.scores_of("job-2", "run-b", 3.0))
    store.fold()
    store.commit(make.scores_of("job-3", "run-a", 9.0))
    return store


@pytest.mark.parametrize("statement", [None, 3, b"SELECT 1", "SELECT 'S\udcc3o'"])
def test_a_statement_that_is_no_text_is_refused(mixed: AnalyticsStore, statement: Any) -> None:
    with pytest.raises(QueryError, match="the statement"):
        mixed.query(statement)


@pytest.mark.parametrize("name", ["plain", "with space", 'it\'s "quoted"', "größe", "brackets [1] *?"])
def test_a_store_can_lie_anywhere(tmp_path: Path, make: ModuleType, name: str) -> None:
    store = AnalyticsStore(tmp_path / name)
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    store.fold()
    store.commit(make.scores_of("job-2", "run-2", 2.0))
    store.commit(make.scores_of("job-3", "run-1", 3.0))
    assert store.query("SELECT run_uid, value FROM scores ORDER BY 1").to_pylist() == [
        {"run_uid": "run-1", "value": 3.0},
        {"run_uid": "run-2", "value": 2.0},
    ]
    assert store.query("SELECT event_id FROM runs WHERE is_current ORDER BY 1").num_rows == 2
    store.close()


def test_tables_show_the_newest_event_of_each_run_and_runs_shows_all(mixed: AnalyticsStore) -> None:
    shown = [{"event_id": "job-2", "value": 3.0}, {"event_id": "job-3", "value": 9.0}]
    history = [
        {"event_id": "job-1", "is_current": False},
        {"event_id": "job-2", "is_current": True},
        {"event_id": "job-3", "is_current": True},
    ]
    for _ in range(2):
        assert mixed.query("SELECT event_id, value FROM scores ORDER BY ALL").to_pylist() == shown
        assert mixed.query("SELECT event_id, is_current FROM runs ORDER BY ALL").to_pylist() == history
        joined = "SELECT event_id, value FROM scores JOIN runs USING (event_id) WHERE is_current ORDER BY ALL"
        assert mixed.query(joined).to_pylist() == shown
        mixed.fold()


def test_a_newest_event_without_rows_leaves_none_of_the_older_ones(
    open_store: Callable[..., AnalyticsStore], make: ModuleType
) -> None:
    open_store().commit(make.scores_of("job-1", "run-a", 1.0))
    open_store().fold()
    open_store().commit(make.bundle_of("job-2", "run-a", []))
    for _ in range(2):
        assert open_store().query("SELECT * FROM scores").num_rows == 0
        assert open_store().schema("scores")["value"] == "float64"
        open_store().fold()


def test_any_program_that_reads_parquet_sees_the_same_rows_in_the_listed_files(mixed: AnalyticsStore) -> None:
    import duckdb

    mixed.fold()
    for table in mixed.tables():
        wanted = mixed.query(f"SELECT * FROM {table} ORDER BY ALL").to_pylist()
        files = mixed.files(table)
        columns = list(mixed.schema(table))
        by_duckdb = duckdb.connect()
        by_duckdb.execute("SET TimeZone='UTC'")
        found = by_duckdb.sql(f"SELECT * FROM read_parquet({files!r}, union_by_name=true) ORDER BY ALL")
        assert found.to_arrow_table().to_pylist() == wanted

        def order(row: dict[str, Any]) -> list[tuple[bool, Any]]:
            return [(row[name] is None, row[name]) for name in columns]  # noqa: B023 - used at once

        assert sorted(ds.dataset(files).to_table().to_pylist(), key=order) == sorted(wanted, key=order)
        assert sum(pq.read_table(file).num_rows for file in files) == len(wanted)


def test_the_answer_is_arrow_with_the_types_of_the_columns(store: AnalyticsStore, make: ModuleType) -> None:
    store.commit(make.bundle_of("job-1", "run-1", [make.Everything(run_uid="run-1", text="x")]))
    for _ in range(2):
        answer = store.query("SELECT * EXCLUDE (event_id, run_uid) FROM everything")
        assert isinstance(answer, pa.Table)
        assert {field.name: str(field.type) for field in answer.schema} == {
            "text": "string",
            "whole": "int64",
            "real": "double",
            "flag": "bool",
            "raw": "binary",
            "moment": "timestamp[us, tz=UTC]",
            "day": "date32[day]",
        }
        store.fold()


def test_what_users_type_to_look_around_works(mixed: AnalyticsStore) -> None:
    names = {row["name"] for row in mixed.query("SHOW TABLES").to_pylist()}
    assert {"runs", "scores"} <= names
    assert [row["column_name"] for row in mixed.query("DESCRIBE scores").to_pylist()] == list(mixed.schema("scores"))
    assert mixed.query("FROM scores").num_rows == 2
    assert mixed.query("SUMMARIZE scores").num_rows == 4
    assert mixed.query("PIVOT scores ON label IN ('label-0') USING sum(value)").num_rows == 2


def test_an_unknown_table_is_answered_with_those_that_exist(mixed: AnalyticsStore) -> None:
    with pytest.raises(QueryError, match=r"(?s)nope.*Tables: runs, scores"):
        mixed.query("SELECT * FROM nope")
    for call in (mixed.schema, mixed.files):
        with pytest.raises(QueryError, match=r"(?s)no table 'nope'.*Tables: runs, scores"):
            call("nope")


def test_an_empty_store_says_that_nothing_has_been_written(store: AnalyticsStore) -> None:
    with pytest.raises(QueryError, match=r"(?s)scores.*(has been written|written yet)"):
        store.query("SELECT * FROM scores")
    with pytest.raises(QueryError, match="Nothing with records has been written yet"):
        store.schema("scores")
    assert store.query("SELECT * FROM runs").to_pylist() == []
    assert store.schema("runs")["committed_at"] == "timestamp"


def test_a_mistake_in_the_sql_is_explained_by_the_engine(mixed: AnalyticsStore) -> None:
    with pytest.raises(QueryError, match=r"(?s)syntax error.*Tables"):
        mixed.query("SELEC 1")
    with pytest.raises(QueryError, match="lable"):
        mixed.query("SELECT lable FROM scores")
    assert mixed.query("SELECT 1 AS one").to_pylist() == [{"one": 1}]


def test_several_threads_write_fold_and_query_through_one_object(store: AnalyticsStore, make: ModuleType) -> None:
    def work(number: int) -> int:
        store.commit(make.scores_of(f"job-{number}", f"run-{number}", float(number)))
        if number % 5 == 0:
            store.fold()
        rows = store.query("SELECT count(*) AS n, count(DISTINCT run_uid) AS u FROM scores").to_pylist()[0]
        assert rows["n"] == rows["u"]
        return int(rows["n"])

    with ThreadPoolExecutor(6) as pool:
        counts = list(pool.map(work, range(30)))
    assert max(counts) == 30
    assert store.query("SELECT sum(value) AS s FROM scores").to_pylist() == [{"s": float(sum(range(30)))}]


def test_an_unchanged_store_is_asked_again_through_the_same_connection(mixed: AnalyticsStore) -> None:
    mixed.fold()
    sql = "SELECT avg(value) FROM scores"
    mixed.query(sql)
    connection = mixed._sql._session._connection
    mixed.query(sql)
    assert mixed._sql._session._connection is connection
    mixed.close()
    assert mixed.query(sql).num_rows == 1


INTERRUPTED = """
import os, signal, sys, threading
from checkmaite_analytics_store import AnalyticsStore
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process may have inherited that it is ignored
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # alone or on a busy machine, DuckDB computes in our thread
store = AnalyticsStore(sys.argv[1])
store.query("SELECT 1")
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    store.query("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3")
except KeyboardInterrupt:
    print(store.query("SELECT 1 AS one").to_pylist())
"""


def test_ctrl_c_ends_a_long_query_as_it_ends_anything_else(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(root)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.returncode) == ("[{'one': 1}]\n", 0), done.stderr


def test_neither_text_nor_pickle_carries_storage_options(
    root: Path, make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AnalyticsStore(root)
    store.commit(make.scores_of("job-1", "run-1", 1.0))
    assert repr(store) == f"AnalyticsStore({str(root)!r})"
    assert pickle.loads(pickle.dumps(store)).tables() == ["runs", "scores"]

    from checkmaite_storage import LocalObjectStore

    # A connector that takes options: local disk has none.
    monkeypatch.setattr("checkmaite_analytics_store._store.open_object_store", lambda uri, _: LocalObjectStore(uri))
    secret = AnalyticsStore(str(root), {"secret": "hunter2"})
    assert "hunter2" not in repr(secret)
    assert "hunter2" not in repr(vars(secret))
    with pytest.raises(ConfigurationError, match="cannot be pickled") as caught:
        pickle.dumps(secret)
    assert "hunter2" not in str(caught.value)


def test_without_duckdb_everything_but_sql_works(root: Path, make: ModuleType) -> None:
    AnalyticsStore(root).commit(make.scores_of("job-1", "run-1", 1.0))
    code = (
        "import sys; sys.modules['duckdb'] = None\n"  # an import of it now fails as if it were not installed
        "from checkmaite_analytics_store import AnalyticsStore\n"
        "from checkmaite_core.errors import PluginNotFoundError\n"
        "store = AnalyticsStore(sys.argv[1]); store.fold(); print(store.tables(), len(store.files('scores')))\n"
        "try:\n    store.query('SELECT 1')\nexcept PluginNotFoundError as error:\n    print(error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout == "['runs', 'scores'] 1\nInstall it: pip install \"checkmaite-analytics-store[sql]\"\n"


def test_importing_the_package_does_not_import_duckdb() -> None:
    code = "import sys, checkmaite_analytics_store; print('duckdb' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_broken_duckdb_is_not_reported_as_missing(store: AnalyticsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "duckdb":
            raise ModuleNotFoundError("No module named 'numpy'", name="numpy")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(ModuleNotFoundError, match="numpy"):
        store.query("SELECT 1")
    assert PluginNotFoundError is not ModuleNotFoundError


def test_a_thousand_unfolded_runs_are_read_in_a_small_multiple_of_the_time_to_read_their_files(
    store: AnalyticsStore, make: ModuleType
) -> None:
    from checkmaite_analytics_store._bundle import encode_bundle

    store.commit(make.scores_of("seed", "seed", 0.0))
    inbox = Path(store._objects.path("inbox/seed.run")).parent
    for number in range(1000):
        data = encode_bundle(make.scores_of(f"job-{number}", f"run-{number}", *[1.0] * 20))
        (inbox / f"job-{number}.run").write_bytes(data)

    def floor() -> float:
        start = time.perf_counter()
        for path in inbox.iterdir():
            json.loads(path.read_bytes().split(b"\n", 2)[1])
        return time.perf_counter() - start

    ratios = []
    for _ in range(3):
        before = floor()
        start = time.perf_counter()
        assert AnalyticsStore(store.uri).query("SELECT count(*) AS n FROM scores").to_pylist() == [{"n": 20_001}]
        ratios.append((time.perf_counter() - start) / before)
    assert min(ratios) < 25, ratios


def test_reading_folded_files_starts_no_thread(mixed: AnalyticsStore, tmp_path: Path) -> None:
    """A thread that Arrow has just started when a short process ends would abort it."""
    code = (
        "import os, sys, pyarrow.parquet\n"
        "from checkmaite_analytics_store import AnalyticsStore\n"
        "store = AnalyticsStore(sys.argv[1])\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "assert store.verify().ok\n"
        "print(len(os.listdir('/proc/self/task')) - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, mixed.uri], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


FORKED = """
import os, sys
from checkmaite_analytics_store import AnalyticsStore
store = AnalyticsStore(sys.argv[1])
sql = "SELECT sum(value) AS s FROM scores JOIN runs USING (event_id)"
print(store.query(sql).to_pylist(), flush=True)
child = os.fork()
if child == 0:
    print(store.query(sql).to_pylist(), flush=True)
    store.close()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print(store.query(sql).to_pylist(), flush=True)
"""


def test_a_forked_child_asks_through_a_connection_of_its_own_and_leaves_the_parents(
    mixed: AnalyticsStore,
) -> None:
    mixed.fold()
    done = subprocess.run(
        [sys.executable, "-c", FORKED, mixed.uri], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode, done.stderr) == ("[{'s': 12.0}]\n" * 3, 0, ""), done.stderr
