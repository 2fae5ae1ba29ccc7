"""What tables and columns are called, what the engine shows of them, and whole numbers in answers."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from pydantic import create_model

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core import Record
from checkmaite_core.errors import QueryError

RESERVED = ["order", "foreign", "group", "left", "select", "table", "natural", "default", "at", "desc", "show"]


def _record(table: str, /, **fields: Any) -> Any:
    return create_model("Row", __base__=Record, __cls_kwargs__={"table_name": table}, **fields)


@pytest.fixture(scope="module")
def reserved(tmp_path_factory: pytest.TempPathFactory, make: ModuleType) -> Any:
    """A store whose tables are all called by reserved words, and so are their columns."""
    with AnalyticsStore(tmp_path_factory.mktemp("reserved") / "store") as store:
        columns: dict[str, Any] = dict.fromkeys(RESERVED, (int, ...))
        records = [
            _record(table, **columns)(run_uid="r", **dict.fromkeys(RESERVED, number))
            for number, table in enumerate(RESERVED)
        ]
        store.commit(make.bundle_of("job-1", "r", records))
        yield store


@pytest.mark.parametrize("word", RESERVED)
def test_a_table_called_by_a_reserved_word_is_asked_for_in_quotes_and_the_error_says_so(
    reserved: AnalyticsStore, word: str
) -> None:
    number = RESERVED.index(word)
    assert reserved.query(f'SELECT "{word}" FROM "{word}"').column(0).to_pylist() == [number]
    for sql in (
        f"SELECT count(*) FROM {word}",
        f"SELECT run_uid FROM {word.upper()} ORDER BY run_uid",
        f"SELECT 'é', t.run_uid FROM {word} AS t GROUP BY ALL",
    ):
        with pytest.raises(QueryError) as caught:
            reserved.query(sql)
        hint = caught.value.hint or ""
        assert hint.startswith(f'The table "{word}" is named by a reserved word of SQL: write it in double quotes')
        statement = hint.partition(", as in: ")[2]
        assert f'FROM "{word}"' in statement
        assert reserved.query(statement).num_rows == 1


@pytest.mark.parametrize("word", [word for word in RESERVED if word not in ("default", "desc", "show")])
def test_so_is_a_column(store: AnalyticsStore, make: ModuleType, word: str) -> None:
    store.commit(make.bundle_of("job-1", "r", [_record("scores", **{word: (int, ...)})(run_uid="r", **{word: 7})]))
    with pytest.raises(QueryError) as caught:
        store.query(f"SELECT {word} FROM scores")
    hint = caught.value.hint or ""
    assert hint.startswith(f'The column "{word}" is named by a reserved word of SQL: write it in double quotes')
    assert store.query(hint.partition(", as in: ")[2]).to_pylist() == [{word: 7}]


def test_a_column_called_default_is_explained_too(reserved: AnalyticsStore) -> None:
    with pytest.raises(QueryError) as caught:
        reserved.query('SELECT default FROM "order"')
    assert 'write it in double quotes, as in: SELECT "default" FROM "order"' in (caught.value.hint or "")


def test_several_are_told_together_and_no_other_mistake_is_taken_for_one(reserved: AnalyticsStore) -> None:
    with pytest.raises(QueryError) as caught:
        reserved.query("SELECT group, count(*) FROM foreign GROUP BY group")
    hint = caught.value.hint or ""
    assert 'as in: SELECT "group", count(*) FROM "foreign" GROUP BY "group"' in hint
    with pytest.raises(QueryError) as caught:
        reserved.query("SELECT FROM WHERE order")
    assert "reserved" not in (caught.value.hint or "")


INTERNAL = [
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "DESCRIBE",
    "SELECT table_name FROM information_schema.tables",
    "SELECT DISTINCT table_name FROM information_schema.columns",
    "SELECT view_name FROM duckdb_views() WHERE NOT internal",
    "SELECT DISTINCT table_name FROM duckdb_columns() WHERE NOT internal",
]


@pytest.mark.parametrize("sql", INTERNAL)
def test_the_engine_shows_the_tables_and_nothing_internal(
    open_store: Callable[..., AnalyticsStore], make: ModuleType, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    import checkmaite_analytics_store._sql as module

    def names(store: AnalyticsStore) -> list[str]:
        answer = store.query(sql).to_pylist()
        return sorted(row.get("name") or row.get("table_name") or row.get("view_name") for row in answer)

    for native in (True, False):
        if not native:
            monkeypatch.setattr(module._Session, "_is_native", lambda *_: False)
        store = open_store()
        store.commit(make.scores_of(f"job-1-{native}", "run-1", 1.0))
        store.query("SELECT * FROM runs, scores")
        assert names(store) == ["runs", "scores"]
        store.fold()
        store.commit(make.scores_of(f"job-2-{native}", "run-1", 2.0))  # replaces folded rows
        assert store.query("SELECT value FROM scores").column(0).to_pylist() == [2.0]
        assert names(store) == ["runs", "scores"]
        assert store.query("SELECT table_name FROM duckdb_tables()").num_rows == 0


def test_describe_and_summarize_answer_for_a_table(store: AnalyticsStore, make: ModuleType) -> None:
    store.commit(make.scores_of("job-1", "run-1", 1.0, 3.0))
    described = store.query("DESCRIBE scores").to_pylist()
    assert [row["column_name"] for row in described] == ["event_id", "run_uid", "label", "value"]
    (value,) = (row for row in store.query("SUMMARIZE scores").to_pylist() if row["column_name"] == "value")
    assert (value["min"], value["max"], value["count"]) == ("1.0", "3.0", 2)


class TestWholeNumbers:
    """``sum`` and its like answer integers where they fit."""

    @pytest.fixture
    def counted(self, store: AnalyticsStore, make: ModuleType) -> AnalyticsStore:
        rows = [_record("counts", n=(int, ...))(run_uid="r", n=n) for n in (1, 2, 2**62)]
        store.commit(make.bundle_of("job-1", "r", rows))
        return store

    def test_a_sum_that_fits_is_an_integer(self, counted: AnalyticsStore) -> None:
        answer = counted.query("SELECT sum(n) AS s, sum(n) FILTER (n < 0) AS none FROM counts")
        assert [field.type for field in answer.schema] == [pa.int64(), pa.int64()]
        assert answer.to_pylist() == [{"s": 2**62 + 3, "none": None}]
        assert counted.query("SELECT sum(n) AS s FROM counts WHERE false").schema.field("s").type == pa.int64()

    def test_one_that_does_not_is_an_exact_decimal(self, counted: AnalyticsStore) -> None:
        answer = counted.query("SELECT sum(n) + 2 ** 62::HUGEINT AS a, sum(n) * 4 AS s FROM counts")
        assert answer.schema.field("s").type == pa.decimal128(38, 0)
        assert answer.column("s").to_pylist() == [Decimal(2**64 + 12)]

    def test_those_inside_other_values_are_integers_too(self, counted: AnalyticsStore) -> None:
        answer = counted.query("SELECT [sum(n)] AS l, {'s': sum(n)} AS t, MAP {'k': [sum(n)]} AS m FROM counts")
        total = 2**62 + 3
        assert answer.to_pylist() == [{"l": [total], "t": {"s": total}, "m": [("k", [total])]}]
        assert "decimal" not in str(answer.schema)

    def test_decimals_that_were_asked_for_stay_decimals(self, counted: AnalyticsStore) -> None:
        answer = counted.query("SELECT n::DECIMAL(38, 0) AS d, sum(n)::DECIMAL(20, 1) AS e FROM counts GROUP BY n")
        assert [field.type for field in answer.schema] == [pa.decimal128(38, 0), pa.decimal128(20, 1)]

    def test_what_arrow_cannot_hold_exactly_is_refused(self, counted: AnalyticsStore) -> None:
        with pytest.raises(QueryError, match=r"'u'.*UHUGEINT") as caught:
            counted.query("SELECT 340282366920938463463374607431768211455::UHUGEINT AS u")
        assert "VARCHAR" in (caught.value.hint or "")
