"""The type of every column, registered once and for all by the first writer that has it."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from checkmaite_analytics_store._layout import SCHEMAS, column_of_key, schema_key
from checkmaite_analytics_store._sealed import corrupt, seal, unseal
from checkmaite_core.errors import ObjectExistsError, ObjectNotFoundError, SchemaError
from checkmaite_core.record import ScalarType
from checkmaite_storage import ObjectStore

__all__ = ["SchemaRegistry"]

_MAX_COLUMN = 240


class SchemaRegistry:
    """Reads and registers column types; remembers them, since they never change. Safe for several threads."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], ScalarType] = {}

    def register(self, table: str, columns: Mapping[str, ScalarType]) -> None:
        """Make sure that the columns are registered with these types, before any row that has them is written.

        Raises:
            SchemaError: A column is registered with another type.
        """
        unknown = {name: kind for name, kind in columns.items() if self._check(table, name, kind) is None}
        if not unknown:
            return
        listed = {info.key for info in self._objects.list(f"{SCHEMAS}{table}/")}
        for name, kind in unknown.items():
            key = schema_key(table, name)
            if len(key.rpartition("/")[2]) > _MAX_COLUMN:
                raise SchemaError(
                    f"table {table!r}, column {name!r}: the name is too long for a column.",
                    hint=f"Use at most {_MAX_COLUMN - 5} letters, digits and underscores.",
                )
            if key not in listed:
                body = {"table": table, "column": name, "type": kind.value}
                try:
                    self._objects.put_if_absent(key, seal("column", body))
                except ObjectExistsError:
                    pass  # another writer was first: what it registered holds, and is checked below
                else:
                    self._remember(table, name, kind)
            self.type_of(table, name)
            self._check(table, name, kind)

    def type_of(self, table: str, column: str) -> ScalarType | None:
        """The type that a column was registered with; None if it never was.

        Raises:
            CorruptObjectError: The registration cannot be read.
        """
        with self._lock:
            known = self._known.get((table, column))
        if known is not None:
            return known
        key = schema_key(table, column)
        uri = f"{self._objects.uri}/{key}"
        try:
            body = unseal("column", self._objects.get(key), uri)
        except ObjectNotFoundError:
            return None
        if body.get("table") != table or body.get("column") != column:
            raise corrupt(uri, "it registers another column")
        try:
            kind = ScalarType(str(body.get("type")))
        except ValueError as error:
            raise corrupt(uri, f"it registers an unknown type, {body.get('type')!r}") from error
        self._remember(table, column, kind)
        return kind

    def registered(self) -> dict[str, dict[str, ScalarType]]:
        """Every registered column of every table, read anew."""
        found: dict[str, dict[str, ScalarType]] = {}
        for info in self._objects.list(SCHEMAS):
            place = column_of_key(info.key)
            kind = self.type_of(*place) if place else None
            if place and kind:
                found.setdefault(place[0], {})[place[1]] = kind
        return found

    def _check(self, table: str, name: str, kind: ScalarType) -> ScalarType | None:
        with self._lock:
            known = self._known.get((table, name))
        if known is not None and known is not kind:
            raise SchemaError(
                f"table {table!r}, column {name!r}: the store has it as {known}, and this run as {kind}.",
                hint=_how_to_mend(known, kind),
            )
        return known

    def _remember(self, table: str, name: str, kind: ScalarType) -> None:
        with self._lock:
            self._known[table, name] = kind


def _how_to_mend(known: ScalarType, kind: ScalarType) -> str:
    if (known, kind) == (ScalarType.FLOAT64, ScalarType.INT64):
        return "Declare the record's field as float: whole numbers fit into it."
    return f"Give the field a new name (such as one that ends in _{kind}), or convert its values to {known}."
