"""The type of every column, registered once and for all by the first writer that has it.

A registration's key does not depend on the type, so that of two writers with different types one finds the key taken.
Its size does: a listing of a table's registrations tells all their types, and no object has to be read. The content
is what holds; it is read where a size says nothing or contradicts what a run has.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping

from checkmaite_analytics_store._layout import SCHEMAS, column_of_key, schema_key
from checkmaite_analytics_store._sealed import check_format, corrupt, newer, seal, unseal
from checkmaite_core.errors import (
    CorruptObjectError,
    ObjectExistsError,
    ObjectNotFoundError,
    RunContractError,
    SchemaError,
)
from checkmaite_core.naming import check_table_name
from checkmaite_core.record import ScalarType
from checkmaite_storage import ObjectInfo, ObjectStore

__all__ = ["SchemaRegistry", "registration"]

_MAX_COLUMN = 240
_STEPS = (
    ScalarType.STRING,
    ScalarType.INT64,
    ScalarType.FLOAT64,
    ScalarType.BOOL,
    ScalarType.BYTES,
    ScalarType.TIMESTAMP,
    ScalarType.DATE,
)
"""Part of the format: the type's place here, from 1, times ``_STEP`` is the length of type and padding together."""
_FIELDS = 4
_STEP = 32
"""Bytes. A registration that is cut short by less does not become one of another type."""


def registration(table: str, column: str, kind: ScalarType) -> bytes:
    """The bytes that register a column's type.

    Raises:
        RunContractError: The table or the column has a name that cannot be registered.
    """
    check_table_name(table)
    if not column or not column.isprintable():
        raise RunContractError(
            f"table {table!r}: {column!r} cannot name a column.", hint="Name it as a field of a Python class is named."
        )
    padding = " " * ((_STEPS.index(kind) + 1) * _STEP - len(kind.value))
    return seal("column", {"table": table, "column": column, "type": kind.value, "padding": padding})


@functools.lru_cache(maxsize=4096)
def _sizes(table: str, column: str) -> Mapping[int, ScalarType]:
    smallest = len(registration(table, column, _STEPS[0]))
    return {smallest + step * _STEP: kind for step, kind in enumerate(_STEPS)}


class SchemaRegistry:
    """Reads and registers column types; remembers them, since they never change. Safe for several threads."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._learning = threading.Lock()
        self._known: dict[tuple[str, str], ScalarType] = {}
        self._read: set[tuple[str, str]] = set()

    def register(self, table: str, columns: Mapping[str, ScalarType]) -> None:
        """Make sure that the columns are registered with these types, before any row that has them is written.

        Nothing is asked of the store if this process knows all of them. Otherwise it takes one listing, and one put
        for each column that nobody has registered.

        Raises:
            SchemaError: A column is registered with another type.
        """
        if any(self._recall(table, name) is None for name in columns):
            self._register_new(table, columns)
        for name, kind in columns.items():
            if self._recall(table, name) is not kind:
                try:
                    known = self.type_of(table, name)  # its content, not only its size
                except CorruptObjectError:
                    continue  # it does not keep a result from being stored: readers compare it, once it is restored
                if known is not kind:
                    raise SchemaError(
                        f"table {table!r}, column {name!r}: the store has it as {known}, and this run as {kind}.",
                        hint=_how_to_mend(known, kind),
                    )

    def check(self, table: str, columns: Mapping[str, ScalarType]) -> None:
        """As :meth:`register`, but registers nothing: columns that nobody has registered are fine.

        Raises:
            SchemaError: A column is registered with another type.
        """
        if any(self._recall(table, name) is None for name in columns):
            self._learn(f"{SCHEMAS}{table}/")
        for name, kind in columns.items():
            if self._recall(table, name) not in (None, kind):
                known = self.type_of(table, name)
                if known not in (None, kind):
                    raise SchemaError(
                        f"table {table!r}, column {name!r}: the store has it as {known}, and this run as {kind}.",
                        hint=_how_to_mend(known, kind),
                    )

    def _register_new(self, table: str, columns: Mapping[str, ScalarType]) -> None:
        listed = self._learn(f"{SCHEMAS}{table}/")
        for name, kind in columns.items():
            key = schema_key(table, name)
            if len(key.rpartition("/")[2]) > _MAX_COLUMN:
                raise SchemaError(
                    f"table {table!r}, column {name!r}: the name is too long for a column.",
                    hint=f"Use at most {_MAX_COLUMN - 5} letters, digits and underscores.",
                )
            if key in listed:
                continue
            try:
                self._objects.put_if_absent(key, registration(table, name, kind))
            except ObjectExistsError:
                continue  # another writer was first: what it registered holds
            self._remember(table, name, kind)

    def type_of(self, table: str, column: str) -> ScalarType | None:
        """The type that a column was registered with, as its registration says; None if it never was.

        Raises:
            CorruptObjectError: The registration cannot be read.
        """
        with self._lock:
            if (table, column) in self._read:
                return self._known[table, column]
        key = schema_key(table, column)
        uri = f"{self._objects.uri}/{key}"
        try:
            data = self._objects.get(key)
        except ObjectNotFoundError:
            return None
        try:
            kind = _parse(table, column, data, uri)
        except CorruptObjectError as error:
            with self._lock:
                self._known.pop((table, column), None)
            raise CorruptObjectError(error.message, hint=_REMEDY, uri=uri) from error
        self._remember(table, column, kind)
        return kind

    def listed_type_of(self, table: str, column: str) -> ScalarType | None:
        """The same as far as a listing tells, which is taken once for all columns that are registered then.

        Raises:
            CorruptObjectError: The registration cannot be read, and its size says nothing.
        """
        known = self._recall(table, column)
        if known is None:
            with self._learning:  # of threads that miss the same columns, one asks
                known = self._recall(table, column)
                if known is None:
                    self._learn(SCHEMAS)
                    known = self._recall(table, column) or self.type_of(table, column)
        return known

    def registered(self) -> dict[str, dict[str, ScalarType]]:
        """Every registered column of every table, read anew."""
        found: dict[str, dict[str, ScalarType]] = {}
        for key in self._learn(SCHEMAS):
            place = column_of_key(key)
            kind = (self._recall(*place) or self.type_of(*place)) if place else None
            if place and kind:
                found.setdefault(place[0], {})[place[1]] = kind
        return found

    def _learn(self, prefix: str) -> list[str]:
        """Remember the types that a listing tells; returns the keys that it has."""
        listed = list(self._objects.list(prefix))
        for info in listed:
            self._learn_one(info)
        return [info.key for info in listed]

    def _learn_one(self, info: ObjectInfo) -> None:
        place = column_of_key(info.key)
        kind = _sizes(*place).get(info.size) if place else None
        if place and kind:
            with self._lock:
                self._known.setdefault(place, kind)

    def _recall(self, table: str, column: str) -> ScalarType | None:
        with self._lock:
            return self._known.get((table, column))

    def _remember(self, table: str, name: str, kind: ScalarType) -> None:
        with self._lock:
            self._known[table, name] = kind
            self._read.add((table, name))


def _parse(table: str, column: str, data: bytes, uri: str) -> ScalarType:
    body = unseal("column", data, uri)
    check_format(body, uri, 1, default=1)
    if body.get("table") != table or body.get("column") != column:
        raise corrupt(uri, "it registers another column")
    try:
        kind = ScalarType(str(body.get("type")))
    except ValueError as error:
        raise newer(uri, f"a column of the type {body.get('type')!r}") from error
    # With more fields than this version knows, its size says nothing.
    if len(body) == _FIELDS and data != registration(table, column, kind):
        raise corrupt(uri, "it does not have the size that its type has")
    return kind


_REMEDY = (
    "Runs that have this column cannot be written until it is mended; what is folded can be asked. Restore the object "
    "from a copy. Without one, and while nobody writes: remove it, then write a run whose column has the same type as "
    "before (store.schema(table) shows it, if rows of it are folded); that registers it again."
)


def _how_to_mend(known: ScalarType | None, kind: ScalarType) -> str:
    match known, kind:
        case ScalarType.FLOAT64, ScalarType.INT64:
            return "Declare the record's field as float: whole numbers fit into it."
        case ScalarType.INT64, ScalarType.FLOAT64:
            return (
                "Rows that are stored as whole numbers never change: give the field a new name (such as one that ends "
                "in _float64), and join the two in SQL with coalesce(new, old). Or round the values to int."
            )
    return f"Give the field a new name (such as one that ends in _{kind}), or convert its values to {known}."
