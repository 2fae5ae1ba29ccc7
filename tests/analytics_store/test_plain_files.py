"""What other tools make of the store: its answers in pandas and polars, and its files read without our code."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 891_011, tzinfo=UTC)


@pytest.fixture
def everything(open_store: Callable[..., AnalyticsStore], make: ModuleType) -> AnalyticsStore:
    """One row of values and one of nulls, of every type; the first folded, the second not."""
    store = open_store()
    full = {"text": "grün", "whole": 2**60, "real": 0.1, "flag": True, "raw": b"\x00\xff", "moment": MOMENT}
    row = make.Everything(run_uid="run-1", **full, day=date(2026, 3, 4))
    store.commit(make.bundle_of("job-1", "run-1", [row]))
    store.fold()
    store.commit(make.bundle_of("job-2", "run-2", [make.Everything(run_uid="run-2")]))
    return store


SQL = "SELECT * EXCLUDE (event_id, run_uid) FROM everything ORDER BY run_uid"


def test_an_answer_becomes_a_polars_frame_with_the_types_of_the_columns(everything: AnalyticsStore) -> None:
    frame = pl.from_arrow(everything.query(SQL))
    assert isinstance(frame, pl.DataFrame)
    assert dict(frame.schema) == {
        "text": pl.String(),
        "whole": pl.Int64(),
        "real": pl.Float64(),
        "flag": pl.Boolean(),
        "raw": pl.Binary(),
        "moment": pl.Datetime("us", "UTC"),
        "day": pl.Date(),
    }
    assert frame.row(0) == ("grün", 2**60, 0.1, True, b"\x00\xff", MOMENT, date(2026, 3, 4))
    assert frame.row(1) == (None,) * 7


def test_an_answer_becomes_a_pandas_frame_with_the_types_of_the_columns(everything: AnalyticsStore) -> None:
    frame = everything.query(SQL).to_pandas(types_mapper=pd.ArrowDtype)
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "text": "string[pyarrow]",
        "whole": "int64[pyarrow]",
        "real": "double[pyarrow]",
        "flag": "bool[pyarrow]",
        "raw": "binary[pyarrow]",
        "moment": "timestamp[us, tz=UTC][pyarrow]",
        "day": "date32[day][pyarrow]",
    }
    assert frame["whole"][0] == 2**60
    assert frame["moment"][0] == pd.Timestamp(MOMENT)
    assert frame.iloc[1].isna().all()
    plain = everything.query(SQL).to_pandas()
    assert str(plain["moment"].dtype) == "datetime64[us, UTC]"
    assert plain["real"][0] == 0.1


@pytest.fixture
def grown(open_store: Callable[..., AnalyticsStore], make: ModuleType) -> AnalyticsStore:
    """A store whose table got a column later, whose files were merged or not, and one of whose runs was run again."""

    class Shape(Record, table_name="shapes"):
        size: int

    class Round(Record, table_name="shapes"):
        size: int
        radius: float
        seen: datetime

    store = open_store(grace=0)
    for number in range(3):
        rows = [Shape(run_uid=f"run-{number}", size=row) for row in range(300)]
        store.commit(make.bundle_of(f"job-{number}", f"run-{number}", list(rows)))
        store.fold()
    store = open_store(grace=0, merge_rows=1)  # from now on, files stay apart
    later = [Round(run_uid="run-1", size=10 * number, radius=0.5, seen=MOMENT) for number in range(4)]
    store.commit(make.bundle_of("job-3", "run-1", list(later)))
    for _ in range(2):
        store.fold()
    store.commit(make.bundle_of("job-4", "run-4", [later[0].model_copy(update={"run_uid": "run-4"})] * 40))
    store.fold()
    return store


def by_duckdb(files: list[str], _: pa.Schema) -> pa.Table:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection.sql(f"FROM read_parquet({files!r}, union_by_name = true)").to_arrow_table()


def by_polars(files: list[str], _: pa.Schema) -> pa.Table:
    return pl.concat([pl.scan_parquet(file) for file in files], how="diagonal").collect().to_arrow()


def by_polars_with_a_schema(files: list[str], schema: pa.Schema) -> pa.Table:
    wanted = pl.Schema(pl.from_arrow(schema.empty_table()).schema)
    return pl.scan_parquet(files, schema=wanted, missing_columns="insert").collect().to_arrow()


def by_pyarrow(files: list[str], schema: pa.Schema) -> pa.Table:
    return ds.dataset(files, schema=schema).to_table()


@pytest.mark.parametrize("read", [by_duckdb, by_polars, by_polars_with_a_schema, by_pyarrow])
@pytest.mark.parametrize("table", ["shapes", "runs"])
def test_after_a_fold_any_tool_sees_in_the_files_what_a_query_answers(
    grown: AnalyticsStore, table: str, read: Callable[[list[str], pa.Schema], pa.Table]
) -> None:
    answer = grown.query(f"SELECT * FROM {table}")
    files = grown.files(table)
    if table == "shapes":
        assert len({tuple(pq.read_schema(file).names) for file in files}) > 1, "no files of different columns"
    schema = pa.unify_schemas([pq.read_schema(file).remove_metadata() for file in files])
    found = read(files, schema).select(answer.column_names)

    def rows(of: pa.Table) -> list[str]:
        return sorted(map(repr, ([*row.values()] for row in of.cast(answer.schema).to_pylist())))

    assert rows(found) == rows(answer)
    assert answer.num_rows == (600 + 4 + 40 if table == "shapes" else 5)


def test_files_are_plain_parquet_that_says_its_types_and_is_checked(everything: AnalyticsStore, make: Any) -> None:
    everything.fold()
    for table in everything.tables():
        for file in everything.files(table):
            with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                assert parquet.read().num_rows > 0
                assert {*parquet.schema_arrow.names} <= {*everything.schema(table)}
