"""SQL over a view of the store, through a DuckDB that can reach nothing else."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pyarrow as pa

from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._layout import RUNS
from checkmaite_analytics_store._manifest import FileEntry
from checkmaite_analytics_store._scratch import new_scratch
from checkmaite_analytics_store._types import SQL, arrow_schema
from checkmaite_analytics_store._view import StoreView, TableView
from checkmaite_core.errors import PluginNotFoundError, QueryError
from checkmaite_core.record import ScalarType
from checkmaite_storage import ObjectStore

if TYPE_CHECKING:
    from types import ModuleType

    import duckdb

__all__ = ["SqlEngine"]

_SUPERSEDED = "_superseded"
_GLOB_CHARACTERS = frozenset("*?[")
_LONGEST_BLOCK = 0.5
_INTERRUPT_AGAIN = 0.05
"""Seconds."""


class SqlEngine:
    """Keeps one DuckDB connection per set of folded files. Queries of several threads take turns.

    The connection reads the store's files and nothing else: no other file, no network, no extension, no Python
    variable; its settings are locked. Only single SELECT statements run, so nothing is ever written.
    """

    def __init__(self, objects: ObjectStore, reader: FoldedReader) -> None:
        self._objects = objects
        self._reader = reader
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._allowed: frozenset[str] | None = None
        self._identity: object = None

    def query(self, view: StoreView, sql: str) -> pa.Table:
        """Answer one SELECT statement.

        Raises:
            QueryError: The text is not one SELECT statement, or DuckDB refuses it.
            CorruptObjectError: A folded file is damaged.
            PluginNotFoundError: duckdb is not installed.
        """
        duckdb = _import_duckdb()
        _require_text(sql)
        with self._lock:
            connection = self._show(duckdb, view)
            try:
                statements = connection.extract_statements(sql)
                if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                    raise QueryError(
                        f"one SELECT statement can be asked, but this is {_describe(statements)}.",
                        hint="Ask one question per call, such as: SELECT * FROM runs ORDER BY committed_at DESC (and "
                        "give PIVOT its values: ON column IN (...)). The store is changed through write() only.",
                    )
                return _answer(connection, statements[0])
            except duckdb.Error as error:
                if isinstance(error, duckdb.IOException | duckdb.InvalidInputException | duckdb.SerializationException):
                    self._check_again(view)
                raise _refused(error, view, self._objects.uri) from error

    def _check_again(self, view: StoreView) -> None:
        """Files were whole when they were first used: see whether damage since then explains an error."""
        for table in view.tables.values():
            for entry in table.files:
                self._reader.read_bytes(entry)

    def close(self) -> None:
        """Close the connection; the next query opens another one."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._allowed = self._identity = None

    def _show(self, duckdb: ModuleType, view: StoreView) -> duckdb.DuckDBPyConnection:
        if self._connection is not None and self._identity == view.identity:
            return self._connection
        entries = [entry for table in view.tables.values() for entry in table.files]
        for entry in entries:
            self._reader.check(entry)
        allowed = frozenset(self._objects.path(entry.key) for entry in entries if self._is_native(entry))
        if self._connection is None or allowed != self._allowed:
            self._close()
            self._connect(duckdb, allowed)
        connection = self._connection
        assert connection is not None
        self._identity = None  # until all of it is in place
        outdated = pa.table({"run_uid": pa.array(sorted(view.superseded), type=pa.string())})
        connection.register(_SUPERSEDED, outdated)
        for name, table in view.tables.items():
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {_name(name)} AS {self._select(name, table, view)}")
        self._identity = view.identity
        return connection

    def _connect(self, duckdb: ModuleType, allowed: frozenset[str]) -> None:
        connection = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_community_extensions": False,
                "allow_unsigned_extensions": False,
                "python_enable_replacements": False,
            },
        )
        self._connection, self._allowed = connection, allowed
        # Sorts larger than the memory spill here, and not into the working directory.
        connection.execute(f"SET temp_directory = {_text(new_scratch())}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET allowed_paths = [{', '.join(map(_text, sorted(allowed)))}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")

    def _is_native(self, entry: FileEntry) -> bool:
        """Whether DuckDB can open the file itself; it takes some characters of a path for a pattern."""
        return self._objects.is_local and _GLOB_CHARACTERS.isdisjoint(self._objects.path(entry.key))

    def _select(self, name: str, table: TableView, view: StoreView) -> str:
        """A table as one SELECT: its files, grouped by their columns, and its rows in memory.

        Every name and text that goes into it has passed through :func:`_name` or :func:`_text`.
        """
        connection = self._connection
        assert connection is not None
        groups: dict[tuple[tuple[str, ScalarType], ...], list[FileEntry]] = defaultdict(list)
        for entry in table.files:
            groups[entry.columns].append(entry)
        parts = []
        for position, (columns, entries) in enumerate(groups.items()):
            native = all(map(self._is_native, entries))
            source = self._native_source(entries) if native else self._dataset(f"_{name}_{position}", entries)
            part = f"SELECT {_columns(table.columns, dict(columns))} FROM {source}"  # noqa: S608
            outdated = f"run_uid IN (SELECT run_uid FROM {_SUPERSEDED})"  # noqa: S608
            if view.superseded and name == RUNS:
                part = f"SELECT * REPLACE (is_current AND NOT {outdated} AS is_current) FROM ({part})"  # noqa: S608
            elif view.superseded:
                part += f" WHERE NOT {outdated}"
            parts.append(part)
        if table.tail is not None and (table.tail.num_rows or not parts):
            tail = f"_{name}_tail"
            connection.register(tail, table.tail)
            present = {field: table.columns[field] for field in table.tail.column_names}
            parts.append(f"SELECT {_columns(table.columns, present)} FROM {_name(tail)}")  # noqa: S608
        if not parts:
            empty = f"_{name}_empty"
            connection.register(empty, arrow_schema(table.columns).empty_table())
            parts.append(f"SELECT * FROM {_name(empty)}")  # noqa: S608
        return " UNION ALL ".join(parts)

    def _native_source(self, entries: list[FileEntry]) -> str:
        return f"read_parquet([{', '.join(_text(self._objects.path(entry.key)) for entry in entries)}])"

    def _dataset(self, name: str, entries: list[FileEntry]) -> str:
        import pyarrow.dataset

        paths = [self._objects.path(entry.key) for entry in entries]
        source = pyarrow.dataset.dataset(
            paths,
            schema=arrow_schema(dict(entries[0].columns)),
            format="parquet",
            filesystem=self._objects.filesystem,
        )
        assert self._connection is not None
        self._connection.register(name, source)
        return _name(name)


def _columns(wanted: Mapping[str, ScalarType], present: Mapping[str, ScalarType]) -> str:
    return ", ".join(
        _name(name) if name in present else f"CAST(NULL AS {SQL[kind]}) AS {_name(name)}"
        for name, kind in wanted.items()
    )


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _import_duckdb() -> ModuleType:
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


def _answer(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> pa.Table:
    """Run a statement such that Ctrl-C ends it at once; the connection stays usable.

    In a thread of its own: one that DuckDB computes in may not look at signals for minutes.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        answer = thread.submit(lambda: connection.sql(statement).to_arrow_table())
        try:
            # In short steps: Ctrl-C just before a thread blocks is seen only when it wakes.
            while not wait([answer], timeout=_LONGEST_BLOCK).done:
                pass
        finally:
            while not answer.done():  # again and again, because DuckDB forgets one that comes before it has begun
                connection.interrupt()
                wait([answer], timeout=_INTERRUPT_AGAIN)
        return answer.result()


def _require_text(sql: object) -> None:
    if not isinstance(sql, str):
        raise QueryError(
            f"the statement is a {type(sql).__qualname__}, not a str.", hint="Pass SQL, such as: SELECT * FROM runs"
        )
    try:
        sql.encode()
    except UnicodeEncodeError:
        raise QueryError(
            "the statement holds a lone surrogate, which is no text.",
            hint="On a command line, set a locale of UTF-8, such as LC_ALL=C.UTF-8.",
        ) from None


def _describe(statements: list[duckdb.Statement]) -> str:
    if not statements:
        return "empty"
    kinds = [str(statement.type).rpartition(".")[2] for statement in statements]
    return kinds[0] if len(kinds) == 1 else f"{len(kinds)} statements ({', '.join(kinds)})"


def _refused(error: Exception, view: StoreView, uri: str) -> QueryError:
    names = ", ".join(sorted(view.tables))
    if "CatalogException" in type(error).__name__ and len(view.tables) == 1:
        hint = f"Nothing with records has been written to {uri} yet, so it has one table: {names}."
    else:
        hint = f"Tables: {names}. store.schema(table) gives the columns of each."
    return QueryError(f"{type(error).__name__}: {error}".rstrip(), hint=hint)
