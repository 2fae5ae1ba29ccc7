"""The analytics store: what users and backends hold in their hands."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from checkmaite_analytics_store import _staging
from checkmaite_analytics_store._commit import Committer
from checkmaite_analytics_store._contents import EventContents
from checkmaite_analytics_store._findings import VerifyReport
from checkmaite_analytics_store._fold import Folder, FoldReport
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._format import StoreFormat
from checkmaite_analytics_store._inbox import Inbox
from checkmaite_analytics_store._maintain import Upkeep, fold_is_due, vacuum_is_worth
from checkmaite_analytics_store._manifest import ManifestReader
from checkmaite_analytics_store._probes import has_probe, leave_probe, remove_probe
from checkmaite_analytics_store._reports import put_report, read_report
from checkmaite_analytics_store._schemas import SchemaRegistry
from checkmaite_analytics_store._settings import DEFAULT_SETTINGS, StoreSettings
from checkmaite_analytics_store._sql import SqlEngine
from checkmaite_analytics_store._vacuum import Vacuum, VacuumReport
from checkmaite_analytics_store._verify import Verifier
from checkmaite_analytics_store._view import StoreView, TableView, ViewReader
from checkmaite_core.content import conflict, first_difference, with_content_digest
from checkmaite_core.errors import ConfigurationError, QueryError
from checkmaite_core.naming import check_event_id
from checkmaite_core.provenance import Provenance, resolve_provenance
from checkmaite_core.record import ColumnType, ScalarType
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.report import ArtifactReport, InlineTextReport
from checkmaite_core.run import bundle_run, make_report
from checkmaite_core.store import CommitReceipt, RunBundle, upload_large_report
from checkmaite_storage import open_object_store

if TYPE_CHECKING:
    import pyarrow

__all__ = ["AnalyticsStore", "ParquetStorePlugin"]


class AnalyticsStore:
    """Durable results of runs, written by any number of processes at once and asked in SQL.

    Every table begins with ``event_id`` (the commit that a row came with) and ``run_uid``. The table ``runs`` has
    one row per commit, the whole history; all other tables show, of each run, the rows of its newest commit:
    the latest by the clock of the store's server, ties broken by event id. ``runs.is_current`` tells which they are.

    An object may be used by several threads; opening creates nothing. Also a context manager.

    Args:
        uri: A folder, or a URI whose scheme an installed connector has.
        storage_options: Passed on to the storage connector; never logged, stored or shown.
        settings: How the store keeps itself in order.

    Raises:
        PluginError: The connector is not installed or cannot be loaded.
        ConfigurationError: The location or an option cannot be used.
    """

    def __init__(
        self,
        uri: str | os.PathLike[str],
        storage_options: Mapping[str, Any] | None = None,
        *,
        settings: StoreSettings = DEFAULT_SETTINGS,
    ) -> None:
        objects = open_object_store(os.fspath(uri), storage_options)
        self._objects = objects
        self._settings = settings
        self._has_options = bool(storage_options)
        self._format = StoreFormat(objects)
        schemas = self._schemas = SchemaRegistry(objects)
        manifests = ManifestReader(objects)
        reader = FoldedReader(objects)
        inbox = Inbox(objects, manifests, schemas)
        self._manifests = manifests
        self._upkeep = Upkeep(objects.uri, settings.fold_after)
        self._committer = Committer(objects, self._format, schemas, inbox, manifests, reader)
        self._folder = Folder(objects, inbox, manifests, reader, settings)
        self._contents = EventContents(inbox, manifests, reader)
        self._views = ViewReader(inbox, reader, schemas)
        self._sql = SqlEngine(objects, reader)
        # A connection that is still open when Python ends makes DuckDB print a page about leaked objects.
        weakref.finalize(self, self._sql.close)
        # Where the store is not closed, nor written to again: a failed fold must be told all the same.
        weakref.finalize(self, self._upkeep.tell)

    def __repr__(self) -> str:
        return f"AnalyticsStore({self.uri!r})"

    def __enter__(self) -> AnalyticsStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._has_options:
            raise ConfigurationError(
                f"the store at {self.uri} cannot be pickled: its storage_options would travel along.",
                hint="Send the URI, and open the store where it is needed with options from that place.",
            )
        return (_reopen, (self.uri, self._settings))

    @property
    def uri(self) -> str:
        """The store's location, absolute, without credentials."""
        return self._objects.uri

    def commit(self, bundle: RunBundle) -> CommitReceipt:
        """Make a run's results durable and visible, all or nothing, with one put at the event's key.

        It needs the event's key and the put, and nothing else of the store: what is damaged there is left to readers.

        Returns:
            ``created=False`` and the stored reference if the event had been committed before. (An event that
            another process folded, and removed from the inbox, since this one last looked counts as created here, and
            so does one where the store's index cannot be read; nothing is stored twice.)

        Raises:
            SchemaError: A column's type differs from the one it was registered with, or a value does not fit it.
            EventAbandonedError: The event was settled as not completed.
            CorruptObjectError: Something unreadable lies at the event's key.
            StoreFormatError: Something else than a store lies at the location, or a store of another format.
            StorageError: It could not be written; nothing of it is visible.
        """
        return self._committer.commit(bundle)

    def settle(self, event_id: str) -> CapabilityRunRef | None:
        """Decide, once and for all, whether an event was committed.

        Returns:
            Its reference if it was. Otherwise None, and it can no longer be committed.

        Raises:
            CorruptObjectError: Something unreadable lies at the event's key, or the store's index cannot be read: then
                nobody knows yet. Ask again once it is mended; :meth:`maintain` does that.
            StorageError: The store could not be asked or written.
        """
        return self._committer.settle(event_id)

    def reference(self, event_id: str) -> CapabilityRunRef | None:
        """The reference of a committed event, such as one from the table ``runs``; None if there is none.

        Raises:
            RunContractError: It cannot be an event's id.
            CorruptObjectError: The event, or a file that holds it, is damaged.
            StorageError: The store could not be asked.
        """
        check_event_id(event_id)
        return self._committer.reference(event_id)

    def check_columns(self, table: str, columns: Mapping[str, ScalarType]) -> None:
        """Refuse columns that a commit could not write, before there is anything to commit. Only reads.

        Raises:
            SchemaError: A column is registered with another type.
            StoreFormatError: Something else than a store lies at the location, or a store of another format.
            CorruptObjectError: A registration cannot be read.
            StorageError: The store could not be asked.
        """
        if self._format.exists():
            self._schemas.check(table, columns)

    def stage(self, event_id: str, data: bytes) -> None:
        """Keep what a run has computed until it is committed. What is there already for this event stays.

        Whoever can write to the store can have code run by the worker that takes it up again.

        Raises:
            StorageError: It could not be written.
        """
        check_event_id(event_id)
        self._format.found()
        _staging.stage(self._objects, event_id, data)

    def staged(self, event_id: str) -> bytes | None:
        """What was kept by :meth:`stage`; None if nothing was, or is any more.

        Raises:
            CorruptObjectError: It is damaged.
            StorageError: The store could not be asked.
        """
        return _staging.read(self._objects, event_id)

    def has_staged(self, event_id: str) -> bool:
        """Whether :meth:`staged` would give something; it is not read.

        Raises:
            StorageError: The store could not be asked.
        """
        return _staging.has(self._objects, event_id)

    def discard_staged(self, event_id: str) -> None:
        """Remove what :meth:`stage` kept; nothing if there is nothing.

        What this process may not delete goes with a later :meth:`vacuum`.

        Raises:
            StorageError: The store cannot be reached.
        """
        _staging.discard(self._objects, event_id)

    def put_report(self, event_id: str, report: InlineTextReport) -> ArtifactReport:
        """Keep a large report as an object of its own, before the commit. Idempotent by event and content.

        Raises:
            StorageError: It could not be written.
        """
        check_event_id(event_id)
        self._format.found()
        return put_report(self._objects, event_id, report)

    def read_report(self, reference: CapabilityRunRef) -> str | None:
        """The text of a run's report, wherever in the store it lies; None if the run has none.

        Raises:
            StoreError: The report lies outside the store.
            StorageError: It is gone, damaged or cannot be read.
        """
        return read_report(self._objects, reference.report)

    def write(
        self,
        run: Any,
        provenance: Provenance | None = None,
        *,
        report_threshold: float = 0.5,
        event_id: str | None = None,
    ) -> CommitReceipt:
        """Store a run made without a job, and its report. Its key is the run_uid, so a repeat changes nothing.

        A repeat has equal rows (in any order), config, ids and report. Anything else under a key that is taken is
        refused: give it a key of its own with ``event_id``. Of several events of one run, queries show the newest.

        Every so often (``StoreSettings.fold_after``) a fold begins in the background; no write waits for it. If it
        fails, the next write, or :meth:`close`, gives a :class:`checkmaite_core.StoreMaintenanceWarning`.

        Args:
            run: Any run; see :class:`checkmaite_core.RunLike`.
            provenance: Where it comes from; by default what ``configure_provenance`` and the environment say.
            report_threshold: Passed to the run's ``collect_md_report``, if it has one.
            event_id: The event's key, if it is not to be the run_uid.

        Raises:
            RunContractError: It lacks something that a run must have.
            WriteConflictError: The event holds other content already; the error says which table, column and row
                differ, and how to write it as a new event.
            StoreError: As for :meth:`commit`.
        """
        self._upkeep.tell()
        if provenance is None:
            provenance = resolve_provenance()
        bundle = bundle_run(
            run,
            event_id=getattr(run, "run_uid", "") if event_id is None else event_id,
            provenance=provenance,
            store_uri=self.uri,
            report=make_report(run, report_threshold),
        )
        bundle = with_content_digest(upload_large_report(self, bundle))
        receipt = self._compared(self.commit(bundle), bundle)
        if receipt.created:
            self._upkeep.wrote(self._maintain_after_writes)
        return receipt

    def _compared(self, receipt: CommitReceipt, bundle: RunBundle) -> CommitReceipt:
        """The receipt of a write, once it is certain that what is stored is what was given.

        Raises:
            WriteConflictError: It is not.
        """
        if receipt.created:
            # Another process may have folded it, and removed it from the inbox, since this one last looked.
            earlier_reference = self._contents.folded_reference(bundle.event_id)
            if earlier_reference is None or earlier_reference == bundle.reference:
                return receipt
            receipt = CommitReceipt(bundle.event_id, created=False, reference=earlier_reference)
        stored = receipt.reference.content_sha256 if receipt.reference is not bundle.reference else None
        if stored == bundle.reference.content_sha256:
            return receipt
        earlier = self._contents.read(bundle.event_id)
        difference = None if earlier is None else first_difference(earlier, bundle)
        if difference is not None:
            raise conflict(self.uri, bundle, difference)
        return receipt

    def query(self, sql: str) -> pyarrow.Table:
        """Answer one SELECT statement of DuckDB's SQL (or EXPLAIN one).

        Of the folded files only the tables, columns and row groups are read that the statement needs. On local disk
        each of these files is compared with its checksum once per process; elsewhere each page is that is read.

        The statement sees the store's tables and nothing else: no file, network, extension or Python variable.
        Times are UTC. A damaged object raises until :meth:`fold` has set it aside; then a
        :class:`QuarantinedObjectWarning` names it.

        Raises:
            QueryError: The text is not one SELECT statement, or refers to something that does not exist.
            CorruptObjectError: An object cannot be read; it is named.
            StorageError: The store cannot be reached or may not be read.
            PluginNotFoundError: duckdb is not installed.
        """
        self._format.exists()
        view, answer = self._views.ask(lambda view: (view, self._sql.query(view, sql)))
        view.warn(self.uri)
        return answer

    def tables(self) -> list[str]:
        """Names of all tables, sorted; ``runs`` is always one."""
        return sorted(self._view().tables)

    def schema(self, table: str) -> dict[str, str]:
        """Type of each column by name (values of :class:`checkmaite_core.record.ScalarType`), in order.

        Each is a :class:`checkmaite_core.record.ColumnType`: its ``note`` says what NaN does in a column of floats.

        Raises:
            QueryError: There is no such table.
        """
        return {name: ColumnType(kind.value) for name, kind in self._table(table).columns.items()}

    def files(self, table: str) -> list[str]:
        """The Parquet files that hold a table's folded rows, for any tool that reads Parquet.

        Only this list is right: the folder can also hold files of unfinished folds, and of earlier ones. Rows that
        are not folded yet are not in them; call :meth:`fold` first.

        Their paths say nothing of their rows. A tool that takes ``key=value`` in a path for a column has to be told
        not to, such as DuckDB with ``read_parquet(files, hive_partitioning = false)``.

        Returns:
            Absolute paths on local disk, full URIs elsewhere.

        Raises:
            QueryError: There is no such table.
        """
        return [self._objects.address(entry.key) for entry in self._table(table).files]

    def fold(self) -> FoldReport:
        """Move what is new into Parquet files. May be called by anyone at any time.

        Every folded file is read once: damaged ones are set aside, and those that were and are whole again come back.

        Raises:
            CorruptObjectError: The store's own records are damaged beyond what can be mended for certain.
            StoreError: It took too long to be published safely, or the store cannot be read or written.
        """
        if not self._format.exists():
            return FoldReport(manifest=0, folded=0, abandoned=0, deleted=0, quarantined=())
        return self._folder.fold()

    def maintain(self, *, at_least: int = 1) -> None:
        """Fold, if at least ``at_least`` events wait for it. Backends have their workers call this.

        Unlike :meth:`fold` it lists the inbox only as far as it takes to know, and does not read every folded file
        to find damage. Where the newest manifest or its index is damaged it folds at once, which mends them.
        Where a vacuum would remove a hundred objects, or 64 MiB, it also vacuums (:meth:`vacuum`).

        Raises:
            StoreError: As for :meth:`fold`.
        """
        if self._format.exists() and fold_is_due(self._objects, self._manifests, at_least):
            self._folder.fold(thorough=False)
            if vacuum_is_worth(self._objects, self._manifests, self._settings.vacuum_age):
                self.vacuum()

    def vacuum(self) -> VacuumReport:
        """Remove what nothing refers to any more and nobody uses. May be called by anyone at any time; daily is plenty.

        What goes: files of earlier and unfinished folds, reports of events that were settled as not completed, left
        over probes, the staged outputs of committed runs, and the content of superseded manifests; each only once it
        has been of no use for ``StoreSettings.vacuum_age``. Staged outputs that nobody has committed go after
        ``StoreSettings.staged_age``. No result does, nor anything that the store did not write. On local disk,
        files named ``.tmp-*`` that a killed writer left are no objects of the store: it does not touch them.

        Raises:
            AccessDeniedError: This client may not delete; nothing has changed.
            CorruptObjectError: The newest manifest, or its index, is damaged: :meth:`fold` mends it.
            StorageError: The store cannot be reached, read or written.
        """
        if not self._format.exists():
            return VacuumReport()
        return Vacuum(self._objects, self._manifests, self._settings.vacuum_age, self._settings.staged_age).vacuum()

    def verify(self) -> VerifyReport:
        """Read every object of the store and compare it with its checksum. Damage is reported, not raised.

        Raises:
            StorageError: The store cannot be reached or may not be read.
        """
        return Verifier(self._objects).verify()

    def probe(self, token: str) -> None:
        """Prove that results can be written here from this process, and leave a few bytes under ``token``.

        Writes, reads back, lists, and makes sure that a second put of one key is refused, as the founding of a store
        does; but founds none. A repeat is no error.

        Raises:
            StoreFormatError: Something else than a store lies at the location, or a store of another format.
            ConditionalPutError: The location does not honour put-if-absent.
            StorageError: It could not be written or read; the type says why.
        """
        self._format.exists()
        leave_probe(self._objects, token)

    def has_probe(self, token: str) -> bool:
        """Whether a probe was left under ``token``: whether the one who left it means the same place. Only reads.

        Raises:
            StorageError: The store could not be asked.
        """
        return has_probe(self._objects, token)

    def remove_probe(self, token: str) -> None:
        """Remove what :meth:`probe` left; one that is absent is no error.

        What this process may not delete goes with a later :meth:`vacuum`.

        Raises:
            StorageError: The store cannot be reached.
        """
        remove_probe(self._objects, token)

    def close(self) -> None:
        """Let go of the query connection; the object can be used again.

        Waits for a fold that :meth:`write` began. If this object has written since, and
        ``StoreSettings.fold_after`` events wait, whoever wrote them, they are folded now. A failure is a
        :class:`checkmaite_core.StoreMaintenanceWarning`.
        """
        try:
            self._upkeep.finish(self._maintain_after_writes)
        finally:
            self._sql.close()

    def _maintain_after_writes(self) -> None:
        self.maintain(at_least=self._settings.fold_after)

    def _view(self) -> StoreView:
        self._format.exists()
        return self._views.view()

    def _table(self, table: str) -> TableView:
        tables = self._view().tables
        if table not in tables:
            raise QueryError(
                f"{self.uri} has no table {table!r}.",
                hint=f"Tables: {', '.join(sorted(tables))}."
                + ("" if len(tables) > 1 else " Nothing with records has been written yet."),
            )
        return tables[table]


def _reopen(uri: str, settings: StoreSettings) -> AnalyticsStore:
    return AnalyticsStore(uri, settings=settings)


class ParquetStorePlugin:
    """The entry point ``parquet`` of the group ``checkmaite.result_stores``."""

    def open(self, uri: str, storage_options: Mapping[str, Any]) -> AnalyticsStore:
        """Open the store for reading and writing; nothing is created before the first write."""
        return AnalyticsStore(uri, storage_options)
