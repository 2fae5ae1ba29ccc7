"""Reading a store's rows, with SQL or without."""

from __future__ import annotations

import typing

from checkmaite_core.record import Scalar
from checkmaite_core.store import ResultStore

__all__ = ["rows_of"]


@typing.runtime_checkable
class _HasRows(typing.Protocol):
    def rows(self, table: str) -> list[dict[str, Scalar]]: ...


def rows_of(store: ResultStore, table: str) -> list[dict[str, Scalar]]:
    """All rows of a table; none if there is no such table yet.

    A store without SQL offers them as ``rows(table)``.
    """
    if table not in store.tables():
        return []
    if isinstance(store, _HasRows):
        return store.rows(table)
    rows: list[dict[str, Scalar]] = store.query(f'SELECT * FROM "{table}"').to_pylist()  # noqa: S608 - a name of ours
    return rows
