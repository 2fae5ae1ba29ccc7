"""What a query sees: every table as folded files and rows in memory."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._inbox import Identity, Inbox, Snapshot
from checkmaite_analytics_store._layout import REFERENCES, RUNS
from checkmaite_analytics_store._manifest import FileEntry, QuarantineEntry
from checkmaite_analytics_store._many_objects import collector_paused
from checkmaite_analytics_store._rows import only_current, payload_tables, run_rows, weigh
from checkmaite_analytics_store._schemas import SchemaRegistry
from checkmaite_analytics_store._settings import QuarantinedObjectWarning
from checkmaite_analytics_store._types import KEY_COLUMNS, RUNS_COLUMNS, SCALARS
from checkmaite_core.errors import CorruptObjectError
from checkmaite_core.record import ScalarType

__all__ = ["StoreView", "TableView", "ViewReader"]

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class TableView:
    """One table at one moment.

    Attributes:
        columns: Name and type of each column, in order.
        files: Its folded files.
        tail: Its rows that are not folded yet; None if there are none.
    """

    columns: Mapping[str, ScalarType]
    files: tuple[FileEntry, ...]
    tail: pa.Table | None


@dataclass(frozen=True, slots=True)
class StoreView:
    """All tables at one moment.

    Attributes:
        identity: Equal for two views of one store only if they hold the same.
        tables: The tables by name; ``runs`` is always one.
        superseded: The run_uids whose folded rows are outdated by rows that are not folded yet.
        quarantined: Objects whose content is missing.
    """

    identity: Identity
    tables: Mapping[str, TableView]
    superseded: frozenset[str]
    quarantined: tuple[QuarantineEntry, ...]

    def warn(self, uri: str) -> None:
        """Warn where something is missing."""
        if self.quarantined:
            names = ", ".join(f"{entry.key} ({entry.reason})" for entry in self.quarantined)
            warnings.warn(
                f"this answer leaves out {len(self.quarantined)} damaged object(s) of {uri}: {names}. Restore them "
                "from a copy and fold again, or run the work again.",
                QuarantinedObjectWarning,
                stacklevel=3,
            )


class ViewReader:
    """Makes views; remembers the last one. Safe for several threads."""

    def __init__(self, inbox: Inbox, reader: FoldedReader, schemas: SchemaRegistry) -> None:
        self._inbox = inbox
        self._reader = reader
        self._schemas = schemas
        self._lock = threading.Lock()
        self._last: StoreView | None = None

    def view(self) -> StoreView:
        """The store as it is now.

        Raises:
            CorruptObjectError: An object that is not quarantined cannot be read.
        """
        return self.ask(lambda view: view)

    def ask(self, question: Callable[[StoreView], AnswerT]) -> AnswerT:
        """Answer a question about the store as it is now.

        A file that has gone while it was read is no damage if a newer manifest has been published, since files that
        the newest ones do not name are removed: then the question is asked again.

        Raises:
            CorruptObjectError: An object that is not quarantined cannot be read.
        """
        while True:
            with collector_paused():
                snapshot = self._inbox.snapshot()
            try:
                return question(self._view_of(snapshot))
            except CorruptObjectError:
                if not self._inbox.moved_since(snapshot.manifest):
                    raise

    def _view_of(self, snapshot: Snapshot) -> StoreView:
        with self._lock:
            if self._last is not None and self._last.identity == snapshot.identity:
                return self._last
        with collector_paused():
            view = self._build(snapshot)
        with self._lock:
            self._last = view
        return view

    def _build(self, snapshot: Snapshot) -> StoreView:
        manifest = snapshot.manifest
        folded = manifest.tables if manifest else {}
        currency = weigh(snapshot.tail, manifest, self._reader)
        rows = payload_tables(snapshot.tail, self._inbox.uri_of)
        tails = {name: only_current(part, currency.current) for name, part in rows.items()}
        tables = {}
        for name in sorted({*folded, *tails} - {RUNS, REFERENCES}):
            files, tail = folded.get(name, ()), tails.get(name)
            tables[name] = TableView(self._columns(name, files, tail), files, tail)
        runs = run_rows(snapshot.tail, currency)
        tables[RUNS] = TableView(RUNS_COLUMNS, folded.get(RUNS, ()), runs)
        return StoreView(snapshot.identity, tables, currency.superseded, snapshot.quarantined)

    def _columns(self, table: str, files: tuple[FileEntry, ...], tail: pa.Table | None) -> dict[str, ScalarType]:
        columns = dict(KEY_COLUMNS)
        for entry in files:
            columns.update(entry.columns)
        if tail is not None:
            columns.update({field.name: SCALARS[field.type] for field in tail.schema})
        if not files and tail is None:  # all its files are quarantined: it still has columns
            columns.update(self._schemas.registered().get(table, {}))
        return columns
