"""SQL over a view of the store, through a DuckDB that can reach nothing else."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pyarrow as pa

from checkmaite_analytics_store._dataset import dataset_of
from checkmaite_analytics_store._duckdb import answer, connect, import_duckdb
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._layout import RUNS
from checkmaite_analytics_store._manifest import FileEntry
from checkmaite_analytics_store._quoting import quoting
from checkmaite_analytics_store._ranged import RangedFiles
from checkmaite_analytics_store._relations import aligned, empty, name, native_files, without_superseded
from checkmaite_analytics_store._statement import permitted, referred, refused, require_text
from checkmaite_analytics_store._view import StoreView, TableView
from checkmaite_core.record import ScalarType
from checkmaite_storage import ObjectStore

if TYPE_CHECKING:
    from types import ModuleType

    import duckdb
    from pyarrow.dataset import Dataset

__all__ = ["SqlEngine"]

_GLOB_CHARACTERS = frozenset("*?[")


_sessions: weakref.WeakSet[_Session] = weakref.WeakSet()
"""Those of this process that have had a connection."""


@functools.cache
def _close_before_forks() -> None:
    """A child that inherits a connection is aborted when it ends, as it lacks the connection's threads.

    So none is inherited: idle ones are closed before a fork, and opened again by the next query. (One that another
    thread is asking at that moment stays; a child that ends by ``os._exit``, as those of multiprocessing do, is safe.)
    """

    def close_all() -> None:
        for session in list(_sessions):
            session.close_if_idle()

    os.register_at_fork(before=close_all)


def _of_files(duckdb: ModuleType) -> tuple[type[Exception], ...]:
    """Errors that damage to a file can come out as; one that is gone is not among those that may be opened."""
    return (
        duckdb.IOException,
        duckdb.InvalidInputException,
        duckdb.PermissionException,
        duckdb.SerializationException,
    )


class SqlEngine:
    """Asks DuckDB about views. Queries of several threads take turns; a forked child makes its own connection.

    The connection reads the store's files and nothing else: no other file, no network, no extension, no Python
    variable; its settings are locked. Only single SELECT statements run, so nothing is ever written.

    Files that DuckDB can open are compared with their digests, once each in a process and only when a statement
    can read them. Others, such as those of an object store, are read through Arrow, in parts and with page
    checksums.
    """

    def __init__(self, objects: ObjectStore, reader: FoldedReader) -> None:
        self._objects = objects
        self._reader = reader
        self._session = _Session(objects, reader)
        self._inherited: list[_Session] = []

    def query(self, view: StoreView, sql: str) -> pa.Table:
        """Answer one SELECT statement.

        Raises:
            QueryError: The text is not one SELECT statement, or DuckDB refuses it.
            CorruptObjectError: A folded file is damaged.
            StorageError: A folded file cannot be read.
            PluginNotFoundError: duckdb is not installed.
        """
        duckdb = import_duckdb()
        require_text(sql)
        return self._current().query(duckdb, view, sql)

    def close(self) -> None:
        """Close the connection; the next query opens another one."""
        if self._session.process == os.getpid():
            self._session.close()

    def _current(self) -> _Session:
        if self._session.process != os.getpid():
            # To close or drop it would wait for threads that only the parent has.
            self._inherited.append(self._session)
            self._session = _Session(self._objects, self._reader)
        return self._session


class _Session:
    """One process's connection, and what it shows."""

    def __init__(self, objects: ObjectStore, reader: FoldedReader) -> None:
        self.process = os.getpid()
        self._objects = objects
        self._reader = reader
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._remote = RangedFiles(objects)
        self._allowed: frozenset[str] = frozenset()
        self._identity: object = None
        self._readable: frozenset[str] = frozenset()
        self._shown: frozenset[str] = frozenset()
        self._sources: list[tuple[object, object]] = []

    def query(self, duckdb: ModuleType, view: StoreView, sql: str) -> pa.Table:
        with self._lock:
            wanted = referred(sql, view.tables)
            try:
                connection = self._show(duckdb, view, wanted)
                self._remote.take_failed()
                return answer(connection, permitted(connection, sql))
            except duckdb.Error as error:
                failure = error
            self._explain(duckdb, failure, [entry for table in wanted for entry in view.tables[table].files])
            quoted = quoting(self._connection, sql, failure, wanted, view) if self._connection else None
            raise refused(failure, view, self._objects.uri, quoted) from failure

    def close(self) -> None:
        with self._lock:
            self._close()

    def close_if_idle(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._lock.release()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._identity = None
        self._shown = frozenset()
        self._sources.clear()

    def _explain(self, duckdb: ModuleType, error: Exception, entries: Iterable[FileEntry]) -> None:
        """Raise what is wrong with a file, if that is why a statement failed."""
        failed = self._remote.take_failed()
        if failed:
            self._reader.explain([entry for entry in entries if entry.key in failed])
        elif isinstance(error, _of_files(duckdb)):
            for entry in entries:
                self._reader.recheck(entry)

    def _show(self, duckdb: ModuleType, view: StoreView, wanted: frozenset[str]) -> duckdb.DuckDBPyConnection:
        """Make every table known, and those that are wanted readable."""
        same = self._connection is not None and self._identity == view.identity
        readable = wanted | self._readable if same else wanted
        missing = readable - self._readable if same else readable
        if same and not missing:
            assert self._connection is not None
            return self._connection
        native = [entry for table in sorted(readable) for entry in view.tables[table].files if self._is_native(entry)]
        for entry in native:
            self._reader.check(entry)
        allowed = frozenset(self._objects.path(entry.key) for entry in native)
        if self._connection is None or not allowed <= self._allowed:
            self._close()
            _close_before_forks()
            _sessions.add(self)
            self._connection, self._allowed = connect(duckdb, allowed), allowed
            self._remote = RangedFiles(self._objects)
            same, missing = False, readable
        connection = self._connection
        self._identity = None  # until all of it is in place
        if not same:
            self._sources.clear()
        for table, content in view.tables.items():
            if table in missing:
                self._relation(connection, table, content, view).create_view(table, replace=True)
            elif not same:
                connection.execute(f"CREATE OR REPLACE VIEW {name(table)} AS {empty(content.columns)}")
        for table in self._shown - view.tables.keys():
            connection.execute(f"DROP VIEW IF EXISTS {name(table)}")
        self._shown = frozenset(view.tables)
        self._identity, self._readable = view.identity, readable
        return connection

    def _is_native(self, entry: FileEntry) -> bool:
        """Whether DuckDB can open the file itself; it takes some characters of a path for a pattern."""
        return self._objects.is_local and _GLOB_CHARACTERS.isdisjoint(self._objects.path(entry.key))

    def _relation(
        self, connection: duckdb.DuckDBPyConnection, table: str, content: TableView, view: StoreView
    ) -> duckdb.DuckDBPyRelation:
        """A table's rows: of its files, grouped by their columns, and of those in memory.

        What is in memory has no name in the engine, so a user sees none but the tables' own.
        Every name and text that goes into SQL has passed through :func:`name` or :func:`text`.
        """
        groups: dict[tuple[tuple[str, ScalarType], ...], list[FileEntry]] = defaultdict(list)
        for entry in content.files:
            groups[entry.columns].append(entry)
        parts = []
        for columns, entries in groups.items():
            present = dict(columns)
            if all(map(self._is_native, entries)):
                part = native_files(connection, [self._objects.path(entry.key) for entry in entries], present)
            else:
                part = self._named_nowhere(connection, dataset_of(self._remote, entries))
            if view.superseded:
                outdated = pa.table({"run_uid": pa.array(sorted(view.superseded), type=pa.string())})
                relation = self._named_nowhere(connection, outdated)
                part = without_superseded(part, relation, flags=table == RUNS, columns=present)
            parts.append(part.project(aligned(content.columns, present)))
        if content.tail is not None and content.tail.num_rows:
            present = {field: content.columns[field] for field in content.tail.column_names}
            parts.append(self._named_nowhere(connection, content.tail).project(aligned(content.columns, present)))
        if not parts:
            return connection.sql(empty(content.columns))
        return functools.reduce(lambda above, below: above.union(below), parts)

    def _named_nowhere(
        self, connection: duckdb.DuckDBPyConnection, rows: pa.Table | Dataset
    ) -> duckdb.DuckDBPyRelation:
        relation = connection.from_arrow(rows)
        self._sources.append((rows, relation))  # the engine reads from them as long as a view does
        return relation
