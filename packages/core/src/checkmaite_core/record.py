"""Records: the rows that a run leaves in the analytics store."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum, StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from checkmaite_core.errors import RunContractError, SchemaError
from checkmaite_core.naming import check_table_name

__all__ = ["Record", "Scalar", "ScalarType", "TableRows", "columns_of", "tabulate"]

Scalar = str | int | float | bool | bytes | datetime | date | None
"""What one cell can hold."""

RESERVED_COLUMNS = frozenset({"event_id"})
"""Columns that the store adds to every table."""


class ScalarType(StrEnum):
    """The type of a column. The values are stored in schemas and must not change."""

    STRING = "string"
    INT64 = "int64"
    FLOAT64 = "float64"
    BOOL = "bool"
    BYTES = "bytes"
    TIMESTAMP = "timestamp"
    """Microseconds, UTC."""
    DATE = "date"


# bool before int and datetime before date: the former are subclasses of the latter.
_BY_PYTHON: tuple[tuple[type, ScalarType], ...] = (
    (bool, ScalarType.BOOL),
    (str, ScalarType.STRING),
    (int, ScalarType.INT64),
    (float, ScalarType.FLOAT64),
    (bytes, ScalarType.BYTES),
    (datetime, ScalarType.TIMESTAMP),
    (date, ScalarType.DATE),
)


class Record(BaseModel):
    """One row of results. Subclass it, name the table, and add scalar fields.

    Example:
        >>> class Score(Record, table_name="scores"):
        ...     label: str
        ...     value: float | None
        >>> Score(run_uid="abc", label="seven", value=0.97).table_name
        'scores'

    Attributes:
        table_name: The table that rows of this class go to; given as a class argument.
        run_uid: The run that the row belongs to.

    Raises:
        SchemaError: When the class is defined: a field is not a scalar (``str``, ``int``, ``float``, ``bool``,
            ``bytes``, ``datetime``, ``date``, a ``Literal`` or enum of them, or one of these or ``None``), or
            its name is reserved.
        RunContractError: When the class is defined: the table's name cannot be used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table_name: ClassVar[str]
    run_uid: str

    @classmethod
    def __pydantic_init_subclass__(cls, *, table_name: str | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if table_name is not None:
            cls.table_name = check_table_name(table_name)
        columns_of(cls)

    def __init_subclass__(cls, *, table_name: str | None = None, **kwargs: Any) -> None:
        # Takes the class argument out of what goes up to object; pydantic hands it to the hook above as well.
        super().__init_subclass__(**kwargs)


@dataclass(frozen=True, slots=True)
class TableRows:
    """The rows of one run in one table.

    Attributes:
        table: The table's name, checked.
        columns: Type of each column, by name, in order; it holds every key of ``rows``.
        rows: One mapping per row.
    """

    table: str
    columns: Mapping[str, ScalarType]
    rows: Sequence[Mapping[str, Scalar]]


def columns_of(record_class: type[BaseModel]) -> dict[str, ScalarType]:
    """Columns of a record class, from its field annotations.

    Raises:
        SchemaError: A field is not a scalar, or its name is reserved.
    """
    columns: dict[str, ScalarType] = {}
    for name, field in record_class.model_fields.items():
        if name in RESERVED_COLUMNS or not name.isidentifier() or name != name.lower():
            raise SchemaError(
                f"{record_class.__qualname__}.{name}: this name cannot be a column.",
                hint="Use a lower-case Python identifier other than " + ", ".join(sorted(RESERVED_COLUMNS)) + ".",
            )
        kinds = set(_scalar_types(field.annotation))
        if kinds == {ScalarType.INT64, ScalarType.FLOAT64}:
            kinds = {ScalarType.FLOAT64}
        if len(kinds) != 1 or None in kinds:
            raise SchemaError(
                f"{record_class.__qualname__}.{name} is {_show(field.annotation)}, which is not one scalar type.",
                hint="Use str, int, float, bool, bytes, datetime or date (or one of them | None); put lists and "
                "mappings into rows of their own, or into a str as JSON.",
            )
        columns[name] = typing.cast("ScalarType", kinds.pop())
    return columns


def _scalar_types(annotation: Any) -> Iterable[ScalarType | None]:
    """The scalar types that an annotation allows; None stands for anything that is not one."""
    if annotation is type(None):
        return
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _scalar_types(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _scalar_types(member)
    elif origin is typing.Literal:
        for value in typing.get_args(annotation):
            yield from _scalar_types(type(value))
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        for item in annotation:
            yield from _scalar_types(type(item.value))
    elif isinstance(annotation, type):
        yield next((scalar for python, scalar in _BY_PYTHON if issubclass(annotation, python)), None)
    else:
        yield None


def _show(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def tabulate(records: Iterable[Any], run_uid: str) -> tuple[TableRows, ...]:
    """Group records by table, checked and turned into plain rows.

    Records may be of any pydantic class with ``table_name`` and ``run_uid``; nothing is taken on trust.

    Raises:
        RunContractError: A record is not such an object, names another run, or its table cannot be used.
        SchemaError: A field is not a scalar, or two record classes of one table disagree about a column.
    """
    tables: dict[str, tuple[dict[str, ScalarType], list[Mapping[str, Scalar]]]] = {}
    by_class: dict[tuple[type[BaseModel], str], dict[str, ScalarType]] = {}
    for record in records:
        if not isinstance(record, BaseModel):
            raise RunContractError(
                f"extract() returned a {type(record).__qualname__}, which is not a record.",
                hint="Return objects of classes made with checkmaite_core.Record (or another pydantic model with "
                "table_name and run_uid).",
            )
        kind = type(record)
        table = check_table_name(getattr(record, "table_name", None))
        if (kind, table) not in by_class:
            known = columns_of(kind)
            known.pop("table_name", None)
            by_class[kind, table] = known
            _merge(tables.setdefault(table, ({}, []))[0], known, table)
        columns = by_class[kind, table]
        if getattr(record, "run_uid", None) != run_uid:
            raise RunContractError(
                f"a record of table {table!r} has run_uid {getattr(record, 'run_uid', None)!r}, "
                f"but the run is {run_uid!r}.",
                hint="Make the records of a run with run_uid=self.run_uid.",
            )
        values = record.model_dump(mode="python", warnings=False)  # _cell() checks what this would warn of
        tables[table][1].append({name: _cell(values[name], columns[name], table, name) for name in columns})
    return tuple(TableRows(table, columns, rows) for table, (columns, rows) in sorted(tables.items()))


def _merge(into: dict[str, ScalarType], columns: Mapping[str, ScalarType], table: str) -> None:
    for name, kind in columns.items():
        if into.setdefault(name, kind) is not kind:
            raise SchemaError(
                f"table {table!r}, column {name!r}: one record class says {into[name]}, another {kind}.",
                hint="Give the column one type, or the records different tables.",
            )


def _cell(value: Any, kind: ScalarType, table: str, name: str) -> Scalar:
    """Check one value against its column: model_construct() and odd subclasses get past pydantic."""
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        return None
    if kind is ScalarType.FLOAT64 and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    found = next((scalar for python, scalar in _BY_PYTHON if isinstance(value, python)), None)
    if found is not kind:
        raise SchemaError(
            f"table {table!r}, column {name!r}: {type(value).__qualname__} where {kind} is declared.",
            hint="Build records through their class, which checks values; convert numpy scalars with .item().",
        )
    if kind is ScalarType.INT64 and not -(2**63) <= value < 2**63:
        raise SchemaError(
            f"table {table!r}, column {name!r}: {value} does not fit into 64 bits.",
            hint="Store it as a float or a string.",
        )
    if kind is ScalarType.STRING:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise SchemaError(
                f"table {table!r}, column {name!r}: the text holds a lone surrogate, which UTF-8 cannot encode.",
                hint="Clean the text with value.encode('utf-8', 'replace').decode().",
            ) from None
    if kind is ScalarType.TIMESTAMP:
        if value.tzinfo is None:
            raise SchemaError(
                f"table {table!r}, column {name!r}: {value.isoformat()} has no time zone.",
                hint="Use an aware datetime, such as datetime.now(timezone.utc).",
            )
        value = value.astimezone(UTC)
    return typing.cast("Scalar", value)
