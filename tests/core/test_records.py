"""Records: what can be a column, what can be a cell."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, ClassVar, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from checkmaite_core import Record
from checkmaite_core.errors import RunContractError, SchemaError
from checkmaite_core.record import ScalarType, columns_of, tabulate


class Colour(StrEnum):
    RED = "red"


class Grade(IntEnum):
    GOOD = 1


class Mixed(Enum):
    ONE = 1
    TWO = "two"


def _record(annotation: Any, table: str = "cells") -> Any:
    return create_model("Cell", __base__=Record, __cls_kwargs__={"table_name": table}, cell=(annotation, ...))


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (str, ScalarType.STRING),
        (int, ScalarType.INT64),
        (float, ScalarType.FLOAT64),
        (bool, ScalarType.BOOL),
        (bytes, ScalarType.BYTES),
        (datetime, ScalarType.TIMESTAMP),
        (date, ScalarType.DATE),
        (float | None, ScalarType.FLOAT64),
        (Optional[int], ScalarType.INT64),  # noqa: UP045 - people write it
        (int | float, ScalarType.FLOAT64),
        (Annotated[int, Field(ge=0)], ScalarType.INT64),
        (Annotated[str | None, "note"], ScalarType.STRING),
        (Literal["a", "b"], ScalarType.STRING),
        (Literal[1, None], ScalarType.INT64),
        (Colour, ScalarType.STRING),
        (Grade | None, ScalarType.INT64),
    ],
)
def test_scalars_are_columns(annotation: Any, kind: ScalarType) -> None:
    assert columns_of(_record(annotation)) == {"run_uid": ScalarType.STRING, "cell": kind}


@pytest.mark.parametrize(
    "annotation",
    [
        list[int],
        dict[str, int],
        tuple[int, ...],
        set[str],
        Any,
        object,
        None,
        str | int,
        bool | int,
        bool | float,
        datetime | str,
        Literal[1, "a"],
        Mixed,
        timedelta,
        complex,
        BaseModel,
        list[int] | None,
    ],
)
def test_anything_else_is_refused_when_the_class_is_defined(annotation: Any) -> None:
    with pytest.raises(SchemaError, match=r"Cell\.cell is"):
        _record(annotation)


@pytest.mark.parametrize("name", ["event_id", "Upper", "größe_X", "true", "false", "null"])
def test_a_field_that_cannot_be_a_column_is_refused_when_the_class_is_defined(name: str) -> None:
    fields: dict[str, Any] = {name: (int, 0)}
    with pytest.raises(SchemaError, match=name):
        create_model("Odd", __base__=Record, __cls_kwargs__={"table_name": "odd"}, **fields)


@pytest.mark.parametrize("table", ["runs", "Upper", "a b", ""])
def test_a_table_that_cannot_be_used_is_refused_when_the_class_is_defined(table: str) -> None:
    with pytest.raises(RunContractError, match="table name"):
        _record(int, table)


def test_a_subclass_goes_to_the_same_table_unless_it_names_another() -> None:
    base = _record(int, "base")

    class Same(base):
        more: str

    class Other(base, table_name="other"):
        pass

    assert (Same.table_name, Other.table_name) == ("base", "other")
    rows = tabulate([base(run_uid="r", cell=1), Same(run_uid="r", cell=2, more="x")], "r")
    assert [table.table for table in rows] == ["base"]
    assert rows[0].columns == {"run_uid": "string", "cell": "int64", "more": "string"}


def test_a_record_cannot_be_changed_or_widened() -> None:
    record = _record(int)(run_uid="r", cell=1)
    with pytest.raises(ValueError, match="frozen"):
        record.cell = 2
    with pytest.raises(ValueError, match="Extra"):
        type(record)(run_uid="r", cell=1, other=2)


scalars = {
    ScalarType.STRING: st.text(st.characters(exclude_categories=["Cs"])),
    ScalarType.INT64: st.integers(-(2**63), 2**63 - 1),
    ScalarType.FLOAT64: st.floats(),
    ScalarType.BOOL: st.booleans(),
    ScalarType.BYTES: st.binary(),
    ScalarType.TIMESTAMP: st.datetimes(timezones=st.just(UTC)),
    ScalarType.DATE: st.dates(),
}
PYTHON = {
    ScalarType.STRING: str,
    ScalarType.INT64: int,
    ScalarType.FLOAT64: float,
    ScalarType.BOOL: bool,
    ScalarType.BYTES: bytes,
    ScalarType.TIMESTAMP: datetime,
    ScalarType.DATE: date,
}


@given(st.data(), st.sampled_from(list(ScalarType)))
def test_every_scalar_passes_unchanged_and_null_passes_everywhere(data: st.DataObject, kind: ScalarType) -> None:
    value = data.draw(scalars[kind])
    kinds = _record(PYTHON[kind] | None)
    (table,) = tabulate([kinds(run_uid="r", cell=value), kinds(run_uid="r", cell=None)], "r")
    found, nothing = (row["cell"] for row in table.rows)
    assert nothing is None
    assert type(found) is type(value)
    assert found == value or (isinstance(value, float) and math.isnan(value))


def test_enums_become_their_values_and_times_become_utc() -> None:
    moment = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    rows = [
        tabulate([_record(kind)(run_uid="r", cell=value)], "r")[0].rows[0]["cell"]
        for kind, value in ((Colour, Colour.RED), (Grade, Grade.GOOD), (datetime, moment))
    ]
    assert rows == ["red", 1, moment]
    assert [type(rows[0]), type(rows[1])] == [str, int]
    assert isinstance(rows[2], datetime)
    assert rows[2].utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (int, "text", "str where int64"),
        (int, True, "bool where int64"),
        (int, 2**63, "64 bits"),
        (float, "0.5", "str where float64"),
        (str, 7, "int where string"),
        (str, "\ud800", "surrogate"),
        (date, datetime(2026, 1, 1, tzinfo=UTC), "datetime where date"),
        (datetime, datetime(2026, 1, 1), "time zone"),  # noqa: DTZ001 - that is what is refused
        (str, ["list"], "list where string"),
    ],
)
def test_values_that_got_past_pydantic_are_refused_by_table_and_column(annotation: Any, value: Any, words: str) -> None:
    record = _record(annotation).model_construct(run_uid="r", cell=value)
    with pytest.raises(SchemaError, match=r"table 'cells', column 'cell'") as caught:
        tabulate([record], "r")
    assert words in caught.value.message


def test_whole_numbers_in_a_float_column_become_floats() -> None:
    (table,) = tabulate([_record(float).model_construct(run_uid="r", cell=1)], "r")
    assert type(table.rows[0]["cell"]) is float


def test_two_classes_of_one_table_must_agree() -> None:
    records = [_record(int)(run_uid="r", cell=1), _record(str)(run_uid="r", cell="x")]
    with pytest.raises(SchemaError, match="one record class says int64, another string"):
        tabulate(records, "r")


@pytest.mark.parametrize("record", ["text", {"run_uid": "r"}, None, object()])
def test_what_is_no_record_is_refused(record: object) -> None:
    with pytest.raises(RunContractError, match="not a record"):
        tabulate([record], "r")


def test_a_record_of_another_run_is_refused() -> None:
    with pytest.raises(RunContractError, match="'other'"):
        tabulate([_record(int)(run_uid="other", cell=1)], "r")


def test_foreign_records_need_only_a_table_and_a_run() -> None:
    class Foreign(BaseModel):
        table_name: ClassVar[str] = "foreign"
        run_uid: str
        score: float

    class WithField(BaseModel):
        table_name: str = "fielded"
        run_uid: str

    class Nameless(BaseModel):
        run_uid: str

    tables = tabulate([Foreign(run_uid="r", score=1), WithField(run_uid="r")], "r")
    assert [(table.table, [*table.columns]) for table in tables] == [
        ("fielded", ["run_uid"]),
        ("foreign", ["run_uid", "score"]),
    ]
    with pytest.raises(RunContractError, match="table name None"):
        tabulate([Nameless(run_uid="r")], "r")
