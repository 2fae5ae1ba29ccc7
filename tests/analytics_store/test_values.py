"""What a record accepts comes back from the store as it was, in value and type."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core import CapabilityConfig, CapabilityOutputs, CapabilityRun, Record


class Row(Record, table_name="every_value"):
    position: int
    text: str | None = None
    whole: int | None = None
    real: float = 0.0
    figure: float | None = None
    truth: bool | None = None
    raw: bytes | None = None
    at: datetime | None = None
    day: date | None = None


class Run(CapabilityRun[CapabilityConfig, CapabilityOutputs]):
    rows: tuple[Row, ...] = ()

    def extract(self) -> tuple[Row, ...]:
        return tuple(row.model_copy(update={"run_uid": self.run_uid}) for row in self.rows)


def _run(name: str, rows: tuple[Row, ...]) -> Run:
    return Run(
        capability_id=name,
        config=CapabilityConfig(),
        dataset_metadata=[],
        model_metadata=[],
        metric_metadata=[],
        outputs=CapabilityOutputs(),
        rows=rows,
    )


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(),
    "whole": st.integers() | st.integers(-(2**63), 2**63 - 1).map(np.int64) | st.integers(0, 2**64 - 1).map(np.uint64),
    "real": st.floats() | st.floats(width=32).map(np.float32) | st.integers() | st.decimals(),
    "figure": st.floats() | st.floats(width=16).map(np.float16) | st.fractions(),
    "truth": st.booleans() | st.booleans().map(np.bool_) | st.integers(0, 1),
    "raw": st.binary() | st.binary().map(bytearray) | st.binary().map(memoryview),
    "at": st.datetimes(timezones=st.timezones() | st.none()),
    "day": st.dates() | st.datetimes(),
}
TYPES = {"text": str, "whole": int, "real": float, "figure": float, "truth": bool, "raw": bytes, "at": datetime}


def _accepted(values: dict[str, Any]) -> dict[str, Any] | None:
    try:
        Row(run_uid="r", position=0, **values)
    except ValidationError:
        return None
    return values


ROWS = st.lists(
    st.one_of(*(st.fixed_dictionaries({name: kind}) for name, kind in FIELDS.items())).map(_accepted).filter(bool),
    max_size=20,
)


def _same(found: Any, wanted: Any) -> bool:
    if wanted != wanted:
        return isinstance(found, float) and math.isnan(found)
    return bool(found == wanted)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_every_accepted_value_comes_back_equal_new_and_folded_by_sql_and_from_the_file(
    tmp_path_factory: Any, rows: list[dict[str, Any]]
) -> None:
    with AnalyticsStore(tmp_path_factory.mktemp("values") / "store") as store:
        store.write(_run("values", tuple(Row(run_uid="r", position=n, **values) for n, values in enumerate(rows))))
        for folded in (False, True):
            if folded:
                store.fold()
            if not rows:
                assert store.tables() == ["runs"]
                continue
            answers = [store.query("SELECT * FROM every_value ORDER BY position").to_pylist()]
            if folded:
                answers += [
                    sorted(pq.read_table(file).to_pylist(), key=lambda row: row["position"])
                    for file in store.files("every_value")
                ]
            for answer in answers:
                for row, values in zip(answer, rows, strict=True):
                    ((name, wanted),) = values.items()
                    if name == "figure" and wanted != wanted:
                        wanted = None
                    assert _same(row[name], wanted)
                    assert type(row[name]) is (type(None) if wanted is None else TYPES.get(name, date))


def test_nan_is_null_where_a_figure_may_be_missing(open_store: Callable[..., AnalyticsStore], root: Path) -> None:
    store = open_store()
    nan = float("nan")
    figures = [(1.0, 1.0), (nan, nan), (2.0, 2.0), (3.0, None)]
    rows = tuple(Row(run_uid="r", position=n, real=real, figure=figure) for n, (real, figure) in enumerate(figures))
    store.write(_run("nan", rows))
    for _ in range(2):
        (best,) = store.query(
            "SELECT max(figure) AS f, avg(figure) AS a, count(figure) AS n FROM every_value"
        ).to_pylist()
        assert best == {"f": 2.0, "a": 1.5, "n": 2}
        # As store.schema() and the documentation say of a column in which NaN is a value.
        real = store.query("SELECT real FROM every_value ORDER BY real DESC").column(0).to_pylist()
        assert math.isnan(real[0])
        assert real[1:] == [3.0, 2.0, 1.0]
        (most,) = store.query("SELECT max(real) AS m, avg(real) AS a FROM every_value").to_pylist()
        assert math.isnan(most["m"])
        assert math.isnan(most["a"])
        (usable,) = store.query("SELECT max(real) AS m FROM every_value WHERE NOT isnan(real)").to_pylist()
        assert usable == {"m": 3.0}
        store.fold()


def test_the_schema_says_what_nan_does(store: AnalyticsStore) -> None:
    store.write(_run("nan", (Row(run_uid="r", position=0),)))
    types: dict[str, Any] = dict(store.schema("every_value"))
    assert types["real"] == "float64"
    assert "comes first in ORDER BY ... DESC" in types["real"].note
    assert "isnan" in types["figure"].note
    assert types["whole"].note is None


def test_a_time_is_the_same_moment_whatever_its_zone(store: AnalyticsStore) -> None:
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    store.write(_run("times", (Row(run_uid="r", position=0, at=moment),)))
    assert store.query('SELECT "at" FROM every_value').column(0).to_pylist() == [moment]
