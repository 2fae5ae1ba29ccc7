"""Every value of a record is stored exactly as it was given, or refused by table, column and value."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, create_model

from checkmaite_core import Record
from checkmaite_core.errors import SchemaError
from checkmaite_core.record import tabulate


class Text(str):
    """A str subclass that shows itself as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Number(int):
    pass


class Grade(IntEnum):
    GOOD = 1


class Size(Enum):
    HUGE = 2**60 + 1


def _record(annotation: Any) -> Any:
    return create_model("Cell", __base__=Record, __cls_kwargs__={"table_name": "cells"}, cell=(annotation, ...))


def _foreign(annotation: Any) -> Any:
    class Foreign(BaseModel):
        table_name: ClassVar[str] = "cells"
        run_uid: str

    return create_model("Foreign", __base__=Foreign, cell=(annotation, ...))


def _stored(record: Any) -> Any:
    return tabulate([record], "r")[0].rows[0]["cell"]


MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=-5)))

EXACT = [
    (int, np.int64(2**60 + 1), 2**60 + 1),
    (int, np.uint64(2**63 - 1), 2**63 - 1),
    (int, np.int64(-(2**63)), -(2**63)),
    (int, np.int8(-5), -5),
    (int, np.array(2**60 + 1), 2**60 + 1),
    (int, Number(2**60 + 1), 2**60 + 1),
    (int, Decimal(2**60 + 1), 2**60 + 1),
    (int, Fraction(2**60 + 1), 2**60 + 1),
    (int, 3.0, 3),
    (int, np.float32(3), 3),
    (int | None, np.int64(2**53 + 1), 2**53 + 1),
    (int, Grade.GOOD, 1),
    (Size, Size.HUGE, 2**60 + 1),
    (Literal[1, 2], 2, 2),
    (Annotated[int, Field(ge=0)], np.int64(2**60 + 1), 2**60 + 1),
    (float, np.float32(0.1), float(np.float32(0.1))),
    (float, np.float16(0.1), float(np.float16(0.1))),
    (float, np.array(0.25), 0.25),
    (float, 2**53, 2.0**53),
    (float, np.int64(2**60), 2.0**60),
    (float, np.longdouble(0.5), 0.5),
    (float, Decimal("0.5"), 0.5),
    (float, Fraction(1, 4), 0.25),
    (float, np.float64(-0.0), -0.0),
    (float | int, np.int64(7), 7.0),
    (Annotated[float, BeforeValidator(lambda text: float(text.rstrip("%")) / 100)], "5%", 0.05),
    (bool, np.bool_(True), True),
    (bool, np.array(False), False),
    (str, Text("as it is"), "as it is"),
    (str, np.str_("as it is"), "as it is"),
    (str, "nul \0 and 🜂", "nul \0 and 🜂"),
    (bytes, bytearray(b"\x00\xff"), b"\x00\xff"),
    (bytes, memoryview(b"abcdef")[::2], b"ace"),
    (bytes, np.bytes_(b"\xff"), b"\xff"),
    (datetime, MOMENT, MOMENT),
    (datetime, pd.Timestamp(MOMENT), MOMENT),
    (datetime, datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)),
    (date, date(2026, 1, 2), date(2026, 1, 2)),
]

REFUSED = [
    (int, np.uint64(2**63), "does not fit into 64 bits"),
    (int, 2**63, "does not fit into 64 bits"),
    (int, 10**5000, "an int of 16610 bits does not fit"),
    (int, Decimal(2**63), "does not fit into 64 bits"),
    (int, True, "True is a bool where int64"),
    (int, np.bool_(True), "bool where int64"),
    (int | None, True, "True is a bool where int64"),
    (int, 0.5, "not a whole number"),
    (int, 2.0**60, "above 2**53"),
    (int, np.float64(2**60 + 1), "above 2**53"),
    (int, math.nan, "not a whole number"),
    (int, math.inf, "not a whole number"),
    (int, Decimal("NaN"), "not a whole number"),
    (int, "5", "'5' is a str where int64"),
    (int, np.array([5]), "ndarray where int64"),
    (int, np.timedelta64(5, "ns"), "timedelta64 where int64"),
    (int, np.datetime64(5, "ns"), "datetime64 where int64"),
    (int, np.ma.masked, "masked"),
    (Grade, True, "bool where int64"),
    (Grade | None, True, "bool where int64"),
    (Literal[1, 2], True, "bool where int64"),
    (float, np.ma.masked, "masked"),
    (float, 2**53 + 1, f"{2**53 + 1} is a int that no float equals"),
    (float, np.int64(2**53 + 1), "that no float equals"),
    (float, 10**400, "that no float equals"),
    (float, Decimal("0.1"), "that no float equals"),
    (float, Fraction(1, 3), "that no float equals"),
    (float, np.longdouble("0.1"), "that no float equals"),
    (float, True, "True is a bool where float64"),
    (float, np.bool_(True), "bool where float64"),
    (float, "0.5", "'0.5' is a str where float64"),
    (float, np.complex128(1), "complex128 where float64"),
    (float, np.timedelta64(1, "s"), "timedelta64 where float64"),
    (bool, 1, "1 is a int where bool"),
    (bool, 0.0, "float where bool"),
    (bool, "yes", "'yes' is a str where bool"),
    (bool, np.int64(1), "int64 where bool"),
    (str, 7, "int where string"),
    (str, b"bytes", "bytes where string"),
    (str, np.bytes_(b"x"), "where string"),
    (str, "caf\udce9", r"'\udce9' at position 3"),
    (str, Text("\ud800"), "lone surrogate"),
    (bytes, "text", "'text' is a str where bytes"),
    (bytes, np.array([1, 2], dtype=np.uint8), "ndarray where bytes"),
    (datetime, MOMENT.replace(tzinfo=None), "has no time zone"),
    (datetime, date(2026, 1, 2), "date where timestamp"),
    (datetime, "2026-01-02T03:04:05Z", "str where timestamp"),
    (datetime, 1_700_000_000, "int where timestamp"),
    (datetime, np.datetime64("2026-01-02T03:04:05.000000001"), "datetime64 where timestamp"),
    (datetime, pd.Timestamp("2026-01-02T03:04:05.000000001Z"), "nanoseconds"),
    (datetime, pd.NaT, "no time"),
    (datetime, datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), "years 1 to 9999"),
    (date, datetime(2026, 1, 2, tzinfo=UTC), "datetime where date"),
    (date, np.datetime64("2026-01-02"), "datetime64 where date"),
    (date, "2026-01-02", "str where date"),
]


@pytest.mark.parametrize(("annotation", "given_value", "stored"), EXACT, ids=map(str, range(len(EXACT))))
def test_what_has_an_exact_equal_is_stored_as_it(annotation: Any, given_value: Any, stored: Any) -> None:
    made = _stored(_record(annotation)(run_uid="r", cell=given_value))
    assert (made, type(made)) == (stored, type(stored))
    assert math.copysign(1, made) == math.copysign(1, stored) if isinstance(stored, float) else True
    if annotation in (int, float, bool, str, bytes, datetime, date):
        unchecked = _stored(_record(annotation).model_construct(run_uid="r", cell=given_value))
        assert (unchecked, type(unchecked)) == (stored, type(stored))


@pytest.mark.parametrize(("annotation", "given_value", "words"), REFUSED, ids=map(str, range(len(REFUSED))))
def test_what_has_none_is_refused_by_table_column_and_value(annotation: Any, given_value: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _record(annotation)(run_uid="r", cell=given_value)
    message = str(caught.value)
    assert "table 'cells', column 'cell': " in message
    assert words in message


@pytest.mark.parametrize(("annotation", "given_value", "words"), REFUSED, ids=map(str, range(len(REFUSED))))
@pytest.mark.parametrize("made", [_record, _foreign])
def test_so_it_is_where_pydantic_was_passed_by(made: Any, annotation: Any, given_value: Any, words: str) -> None:
    with pytest.raises(SchemaError, match="table 'cells', column 'cell': ") as caught:
        _stored(made(annotation).model_construct(run_uid="r", cell=given_value))
    assert words in caught.value.message
    assert caught.value.hint


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from([np.int64, int, Number, Decimal, Fraction]))
def test_no_whole_number_changes(number: int, kind: Any) -> None:
    assert _stored(_record(int)(run_uid="r", cell=kind(number))) == number


@given(st.integers() | st.decimals(allow_nan=False) | st.fractions() | st.floats(allow_nan=False))
def test_a_number_in_a_float_column_equals_what_was_given_or_is_refused(number: Any) -> None:
    try:
        record = _record(float)(run_uid="r", cell=number)
    except ValidationError:
        with pytest.raises((OverflowError, AssertionError)):
            assert float(number) == number
    else:
        assert _stored(record) == number


@pytest.mark.parametrize("made", [_record, _foreign])
@pytest.mark.parametrize("nan", [math.nan, np.float32("nan"), np.float64("nan")])
def test_nan_is_null_where_a_figure_may_be_missing_and_nan_elsewhere(made: Any, nan: Any) -> None:
    for annotation in (float | None, Annotated[float | None, Field()], None | int | float):
        assert _stored(made(annotation)(run_uid="r", cell=nan)) is None
        assert _stored(made(annotation)(run_uid="r", cell=math.inf)) == math.inf
    assert math.isnan(_stored(made(float)(run_uid="r", cell=nan)))


def test_records_are_read_from_json_by_the_types_of_json() -> None:
    class Row(Record, table_name="rows"):
        at: datetime
        day: date
        raw: bytes
        grade: Grade
        n: int

    row = Row(run_uid="r", at=MOMENT, day=date(2026, 1, 2), raw=b"x", grade=Grade.GOOD, n=2**60 + 1)
    assert Row.model_validate_json(row.model_dump_json()) == row


def test_a_field_that_its_class_leaves_out_of_dumps_is_stored() -> None:
    class Row(Record, table_name="rows"):
        hidden: int = Field(exclude=True)
        other: int = Field(serialization_alias="renamed")

    (table,) = tabulate([Row(run_uid="r", hidden=1, other=2)], "r")
    assert table.rows == [{"run_uid": "r", "hidden": 1, "other": 2}]


def test_a_value_whose_repr_fails_is_refused_by_its_class() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(SchemaError, match="Odd where string"):
        _stored(_record(str).model_construct(run_uid="r", cell=Odd()))
