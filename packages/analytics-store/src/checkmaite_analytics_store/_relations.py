"""The text of the SQL that shows a table: names and strings quoted, columns aligned."""

from __future__ import annotations

from collections.abc import Mapping

from checkmaite_analytics_store._types import SQL
from checkmaite_core.record import ScalarType

__all__ = ["SUPERSEDED", "aligned", "empty", "name", "text", "without_superseded"]

SUPERSEDED = "_superseded"
"""The relation that holds the run_uids whose folded rows are outdated."""


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


def without_superseded(select: str, *, flags: bool) -> str:
    """Folded rows without outdated ones; with ``flags``, with ``is_current`` false for them instead."""
    outdated = f"run_uid IN (SELECT run_uid FROM {SUPERSEDED})"  # noqa: S608 - a constant
    if flags:
        return f"SELECT * REPLACE (is_current AND NOT {outdated} AS is_current) FROM ({select})"  # noqa: S608 - ours
    return f"{select} WHERE NOT {outdated}"


def _null(column: str, kind: ScalarType) -> str:
    return f"CAST(NULL AS {SQL[kind]}) AS {name(column)}"
