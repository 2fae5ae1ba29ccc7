"""DuckDB: found, opened with everything locked, and asked such that Ctrl-C ends it."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pyarrow as pa

from checkmaite_analytics_store._answers import whole_numbers
from checkmaite_analytics_store._relations import text
from checkmaite_analytics_store._scratch import new_scratch
from checkmaite_core.errors import PluginNotFoundError

if TYPE_CHECKING:
    from types import ModuleType

    import duckdb

__all__ = ["answer", "connect", "import_duckdb"]

_LONGEST_BLOCK = 0.5
_INTERRUPT_AGAIN = 0.05
"""Seconds."""


def import_duckdb() -> ModuleType:
    """The module ``duckdb``.

    Raises:
        PluginNotFoundError: It is not installed.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        if error.name != "duckdb":
            raise
        raise PluginNotFoundError(
            "SQL needs duckdb, which is not installed here.",
            hint='Install it: pip install "checkmaite-analytics-store[sql]"',
        ) from error
    return duckdb


def connect(module: ModuleType, allowed: Collection[str]) -> duckdb.DuckDBPyConnection:
    """A connection that can open the files ``allowed`` and nothing else, for good."""
    connection: duckdb.DuckDBPyConnection = module.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "allow_unsigned_extensions": False,
            "python_enable_replacements": False,
        },
    )
    # Sorts larger than the memory spill here, and not into the working directory.
    connection.execute(f"SET temp_directory = {text(new_scratch())}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_paths = [{', '.join(map(text, sorted(allowed)))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def answer(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> pa.Table:
    """Run a statement such that Ctrl-C ends it at once; the connection stays usable.

    In a thread of its own: one that DuckDB computes in may not look at signals for minutes.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        future = thread.submit(_ask, connection, statement)
        try:
            # In short steps: Ctrl-C just before a thread blocks is seen only when it wakes.
            while not wait([future], timeout=_LONGEST_BLOCK).done:
                pass
        finally:
            while not future.done():  # again and again, because DuckDB forgets one that comes before it has begun
                connection.interrupt()
                wait([future], timeout=_INTERRUPT_AGAIN)
        return future.result()


def _ask(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> pa.Table:
    relation = connection.sql(statement)
    return whole_numbers(relation.to_arrow_table(), relation.types)
