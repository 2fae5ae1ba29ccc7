"""The text of the SQL that shows a table: names and strings quoted, columns aligned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from checkmaite_analytics_store._types import SQL
from checkmaite_core.record import ScalarType

if TYPE_CHECKING:
    import duckdb

__all__ = ["aligned", "empty", "name", "native_files", "text", "without_superseded"]


def name(identifier: str) -> str:
    """An identifier, quoted."""
    return '"' + identifier.replace('"', '""') + '"'


def text(value: str) -> str:
    """A string, quoted."""
    return "'" + value.replace("'", "''") + "'"


def aligned(wanted: Mapping[str, ScalarType], present: Mapping[str, ScalarType]) -> str:
    """The columns ``wanted``, in their order; those that are not ``present`` are null."""
    return ", ".join(name(column) if column in present else _null(column, kind) for column, kind in wanted.items())


def empty(columns: Mapping[str, ScalarType]) -> str:
    """A relation of these columns without rows, which reads nothing."""
    return f"SELECT {', '.join(_null(column, kind) for column, kind in columns.items())} WHERE false"


def native_files(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], columns: Mapping[str, ScalarType]
) -> duckdb.DuckDBPyRelation:
    """The rows of Parquet files that the engine opens itself; their paths add nothing to them."""
    listed = ", ".join(map(text, paths))
    source = f"read_parquet([{listed}], hive_partitioning = false, filename = false, union_by_name = false)"
    return connection.sql(f"SELECT {aligned(columns, columns)} FROM {source}")  # noqa: S608 - all of it quoted


def without_superseded(
    rows: duckdb.DuckDBPyRelation,
    outdated: duckdb.DuckDBPyRelation,
    *,
    flags: bool,
    columns: Mapping[str, ScalarType],
) -> duckdb.DuckDBPyRelation:
    """Folded rows without those of the run_uids ``outdated``; with ``flags``, with ``is_current`` false instead."""
    kept = rows.join(outdated, "run_uid", how="anti").project(aligned(columns, columns))
    if not flags:
        return kept
    flagged = [f"false AS {name(column)}" if column == "is_current" else name(column) for column in columns]
    return kept.union(rows.join(outdated, "run_uid", how="semi").project(", ".join(flagged)))


def _null(column: str, kind: ScalarType) -> str:
    return f"CAST(NULL AS {SQL[kind]}) AS {name(column)}"
