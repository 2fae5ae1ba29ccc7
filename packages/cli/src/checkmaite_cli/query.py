"""``checkmaite query``: one SQL statement, its answer as a table, CSV or JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from checkmaite_cli.console import make_console
from checkmaite_cli.opening import opened
from checkmaite_cli.output import write_csv, write_json
from checkmaite_cli.tables import print_table

if TYPE_CHECKING:
    import pyarrow

__all__ = ["run_query"]


def run_query(uri: str, sql: str, *, format: str, limit: int) -> None:  # noqa: A002 - the option's name
    """Ask a store and write the answer to stdout.

    Args:
        uri: The store.
        sql: The statement; handed to the store as it is.
        format: ``table``, ``csv`` or ``json``.
        limit: Most rows of a table; what it leaves out is said. The other formats are whole.

    Raises:
        QueryError: The statement was refused.
        StoreError: The store cannot be read.
    """
    with opened(uri) as store:
        answer: pyarrow.Table = store.query(sql)
    names: list[str] = answer.column_names
    if format == "table":
        shown = _rows(answer.slice(0, limit))
        print_table(make_console(), names, shown, total=answer.num_rows)
    else:
        write = write_csv if format == "csv" else write_json
        write(sys.stdout, names, _rows(answer))
        sys.stdout.flush()


def _rows(answer: pyarrow.Table) -> list[tuple[Any, ...]]:
    """The rows, by position: two columns may have one name."""
    columns = [column.to_pylist() for column in answer.columns]
    return list(zip(*columns, strict=True))
