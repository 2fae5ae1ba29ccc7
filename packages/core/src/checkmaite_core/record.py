"""Records: the rows that a run leaves in the analytics store."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from checkmaite_core._cells import NotExactError, Scalar, ScalarType, exact
from checkmaite_core._kinds import allows_none, kind_of, scalar_types
from checkmaite_core._leaves import Before, with_steps_before
from checkmaite_core.errors import RunContractError, SchemaError
from checkmaite_core.naming import check_table_name

__all__ = ["ColumnType", "Record", "Scalar", "ScalarType", "TableRows", "columns_of", "tabulate"]

RESERVED_COLUMNS = frozenset({"event_id", "true", "false", "null"})
"""Columns that the store adds to every table, and names that SQL silently takes for values."""


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

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return with_steps_before(handler(source), cls._exactly)

    @classmethod
    def _exactly(cls, schema: Mapping[str, Any], field: str | None) -> Before | None:
        """What becomes of a value before pydantic would turn it into something near."""
        if field is None:
            return None
        kind = kind_of(schema)
        if schema["type"] == "definition-ref":  # an enum, whose schema pydantic keeps elsewhere
            kinds = set(scalar_types(cls.model_fields[field].annotation))
            kind = kinds.pop() if len(kinds) == 1 else None
        if kind is None:
            return None

        def before(value: Any) -> Any:
            if isinstance(value, Enum):
                return value
            try:
                return exact(value, kind)
            except NotExactError as error:
                table = getattr(cls, "table_name", cls.__qualname__)
                raise ValueError(f"table {table!r}, column {field!r}: {error.why} {error.hint}") from None

        return before

    def __init_subclass__(cls, *, table_name: str | None = None, **kwargs: Any) -> None:
        # Takes the class argument out of what goes up to object; pydantic hands it to the hook above as well.
        super().__init_subclass__(**kwargs)


class ColumnType(str):
    """The type of a column as a store's ``schema()`` tells it: a text such as ``float64``, with a note.

    Example:
        >>> ColumnType("float64") == "float64", ColumnType("int64").note
        (True, None)
    """

    __slots__ = ()

    @property
    def note(self) -> str | None:
        """What a reader of the column must know; None if there is nothing."""
        return _NOTES.get(str(self))


_NOTES = {
    ScalarType.FLOAT64.value: "A missing figure is NULL, which aggregates skip. NaN is a value: it is greater than "
    "every number, so it comes first in ORDER BY ... DESC and is what max() answers; sum() and avg() of it are NaN. "
    "Leave it out with WHERE NOT isnan(column).",
    ScalarType.TIMESTAMP.value: "UTC, in microseconds.",
}


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
        kinds = set(scalar_types(field.annotation))
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


def _show(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def tabulate(records: Iterable[Any], run_uid: str, *, stored_as: str | None = None) -> tuple[TableRows, ...]:
    """Group records by table, checked and turned into plain rows.

    Records may be of any pydantic class with ``table_name`` and ``run_uid``; nothing is taken on trust.

    Args:
        records: Of one run.
        run_uid: What each must name.
        stored_as: What stands in its place in the rows; by default the same.

    Raises:
        RunContractError: A record is not such an object, names another run, or its table cannot be used.
        SchemaError: A field is not a scalar, or two record classes of one table disagree about a column.
    """
    tables: dict[str, tuple[dict[str, ScalarType], list[Mapping[str, Scalar]]]] = {}
    by_class: dict[tuple[type[BaseModel], str], _Columns] = {}
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
            by_class[kind, table] = _Columns(known, _missing_as_nan(kind))
            _merge(tables.setdefault(table, ({}, []))[0], known, table)
        columns = by_class[kind, table].types
        if getattr(record, "run_uid", None) != run_uid:
            raise RunContractError(
                f"a record of table {table!r} has run_uid {getattr(record, 'run_uid', None)!r}, "
                f"but the run is {run_uid!r}.",
                hint="Make the records of a run with run_uid=self.run_uid.",
            )
        missing = by_class[kind, table].missing
        row = {name: _cell(getattr(record, name), columns[name], table, name, missing) for name in columns}
        if stored_as is not None:
            row["run_uid"] = stored_as
        tables[table][1].append(row)
    return tuple(TableRows(table, columns, rows) for table, (columns, rows) in sorted(tables.items()))


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of one record class, and those where NaN is how Python says that there is no figure."""

    types: Mapping[str, ScalarType]
    missing: frozenset[str]


def _missing_as_nan(record_class: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, field in record_class.model_fields.items() if allows_none(field.annotation))


def _merge(into: dict[str, ScalarType], columns: Mapping[str, ScalarType], table: str) -> None:
    for name, kind in columns.items():
        if into.setdefault(name, kind) is not kind:
            raise SchemaError(
                f"table {table!r}, column {name!r}: one record class says {into[name]}, another {kind}.",
                hint="Give the column one type, or the records different tables.",
            )


def _cell(value: Any, kind: ScalarType, table: str, name: str, missing: frozenset[str]) -> Scalar:
    """Check one value against its column: model_construct() and foreign classes get past our validation."""
    try:
        cell = exact(value, kind)
    except NotExactError as error:
        raise SchemaError(f"table {table!r}, column {name!r}: {error.why}", hint=error.hint) from None
    # Where a figure may be missing, NaN says that it is; elsewhere NaN is a value like others.
    return None if cell != cell and name in missing else cell
