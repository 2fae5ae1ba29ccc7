"""Nothing of a path reaches an answer, whatever the folders above a store are called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import polars as pl
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core import Record

ODD = [
    "label=PROD",
    "run_uid=none/event_id=none",
    "value=1/label=2",
    "filename=x/file_row_number=7/order=9",
    "a b",
    "it's",
    'say "hello"',
    "back\\slash",
    "[brackets]",
    "star*",
    "what?",
    "{a,b}",
    "50%20off%2F",
    "label%3DPROD",
    "#hash&amp;+",
    "$HOME ~ ${x}",
    "größe 漢 🜂",
    "tab\tand\nline",
    "**",
    "s3:",
    "year=2026.parquet",
    "-dash",
    "semi;colon, comma",
]


class Odd(Record, table_name="label"):
    label: str
    filename: str
    file_row_number: int
    order: int


def _commit(store: AnalyticsStore, make: ModuleType, event: str, run: str, label: str) -> None:
    record = Odd(run_uid=run, label=label, filename="mine", file_row_number=5, order=6)
    store.commit(make.bundle_of(event, run, [record]))


@pytest.fixture(params=ODD, ids=map(str, range(len(ODD))))
def odd_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnalyticsStore]:
    root = tmp_path / request.param / "store"
    root.parent.mkdir(parents=True)
    with AnalyticsStore(root) as store:
        yield store
        assert (root / "store.json").is_file()


def _other_readers(store: AnalyticsStore) -> None:
    """What ``files()`` names is what other tools read."""
    files = store.files("label")
    assert [Path(file).is_file() for file in files] == [True]
    wanted = [
        {"event_id": "job-1", "run_uid": "r1", "label": "dev", "filename": "mine"},
        {"event_id": "job-2", "run_uid": "r2", "label": "old", "filename": "mine"},
    ]
    columns = [*wanted[0]]
    assert pq.read_table(files[0], columns=columns).to_pylist() == wanted
    assert pyarrow.dataset.dataset(files).to_table(columns=columns).to_pylist() == wanted
    assert pl.read_parquet(files, columns=columns, glob=False, hive_partitioning=False).to_dicts() == wanted


def test_folders_of_odd_names_change_no_answer(odd_store: AnalyticsStore, make: ModuleType) -> None:
    wanted = [("r1", "dev", "mine", 5, 6), ("r2", "new", "mine", 5, 6)]
    sql = 'SELECT run_uid, label, filename, file_row_number, "order" FROM label ORDER BY run_uid'
    _commit(odd_store, make, "job-1", "r1", "dev")
    _commit(odd_store, make, "job-2", "r2", "old")
    for step in ("new", "folded", "both"):
        if step == "folded":
            odd_store.fold()
            _other_readers(odd_store)
        if step == "both":
            _commit(odd_store, make, "job-3", "r2", "new")
        newest = wanted if step == "both" else [wanted[0], ("r2", "old", *wanted[1][2:])]
        assert [tuple(row.values()) for row in odd_store.query(sql).to_pylist()] == newest
        columns = ["event_id", "run_uid", "label", "filename", "file_row_number", "order"]
        assert odd_store.query("SELECT * FROM label").column_names == columns
        assert [*odd_store.schema("label")] == columns
        (runs,) = odd_store.query("SELECT count(*) AS n, count(*) FILTER (is_current) AS c FROM runs").to_pylist()
        assert runs == ({"n": 3, "c": 2} if step == "both" else {"n": 2, "c": 2})


def test_where_the_engine_cannot_open_files_itself_nothing_of_a_path_is_read(
    tmp_path: Path, make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import checkmaite_analytics_store._sql as sql

    monkeypatch.setattr(sql._Session, "_is_native", lambda *_: False)
    with AnalyticsStore(tmp_path / "label=PROD" / "run_uid=x") as store:
        _commit(store, make, "job-1", "r1", "dev")
        store.fold()
        _commit(store, make, "job-2", "r1", "later")
        assert store.query("SELECT run_uid, label FROM label").to_pylist() == [{"run_uid": "r1", "label": "later"}]
