"""The result store: what backends and clients need of it, and how one is found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, ValidationInfo

from checkmaite_core.errors import ConfigurationError
from checkmaite_core.evolving import Given
from checkmaite_core.location import canonical_uri
from checkmaite_core.plugins import RESULT_STORES, load_plugin
from checkmaite_core.provenance import Provenance
from checkmaite_core.record import ScalarType, TableRows
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.report import INLINE_REPORT_LIMIT, ArtifactReport, InlineTextReport

if TYPE_CHECKING:
    import pyarrow

__all__ = [
    "AnalyticsStoreConfig",
    "CommitReceipt",
    "ResultStore",
    "ResultStorePlugin",
    "RunBundle",
    "StoreLocation",
    "StoreMaintenanceWarning",
    "maintenance_warning",
    "open_result_store",
    "upload_large_report",
]


def _canonical(given: object, info: ValidationInfo) -> object:
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if not isinstance(given, str):
        return given  # pydantic says what is wrong with it
    parts = urlsplit(given) if "://" in given else None
    if parts is not None and (parts.password is not None or parts.query):
        # The text of the URI stays out of the message: it holds the secret.
        raise ValueError("the URI carries credentials or a query; put them into storage_options")
    try:
        # As JSON it comes from another process, whose paths may lead elsewhere here: it has been resolved there.
        return canonical_uri(given, resolve=info.mode != "json")
    except ConfigurationError as error:
        raise ValueError(f"{error.message.rstrip('.')}. {error.hint}".rstrip(".")) from None


StoreLocation = Annotated[str, BeforeValidator(_canonical)]
"""The type of a field that says where a store lies: its value is in the one spelling of :func:`canonical_uri`."""


class AnalyticsStoreConfig(Given):
    """Where results go.

    Attributes:
        backend: Name of an installed result store; ``parquet`` is the one we ship.
        uri: A folder or an object-store prefix, kept in the one spelling of
            :func:`checkmaite_core.location.canonical_uri`: a path is absolute from now on, and without links.
        storage_options: Passed on to the storage connector as they are (JSON values); never logged, stored or shown.
    """

    # Validation errors show the offending input by default, and that may be a secret.
    model_config = ConfigDict(hide_input_in_errors=True)

    backend: str = "parquet"
    uri: StoreLocation
    storage_options: dict[str, JsonValue] = Field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class RunBundle:
    """Everything of one run that is committed together.

    Attributes:
        event_id: Key of the commit.
        reference: The reference that the job will return.
        provenance: Where the run comes from.
        config: The run's configuration as JSON text.
        tables: The records, by table; names checked.
    """

    event_id: str
    reference: CapabilityRunRef
    provenance: Provenance
    config: str
    tables: tuple[TableRows, ...]


@dataclass(frozen=True, slots=True)
class CommitReceipt:
    """What became of a commit.

    Attributes:
        event_id: Key of the commit.
        created: Whether this call made it; False when the same event had been committed before.
        reference: The reference that is in the store: this call's, or the earlier one's.
    """

    event_id: str
    created: bool
    reference: CapabilityRunRef


class StoreMaintenanceWarning(UserWarning):
    """A store was not put in order by itself. The text names the store, says why, and what to do.

    No result is lost or hidden by that: what has been committed is in every answer, which only takes longer to give
    the more commits wait.
    """


@runtime_checkable
class ResultStore(Protocol):
    """Durable results. Every implementation passes ``checkmaite_core.testing.ResultStoreSuite``.

    The commit is one atomic put at the event's key. Whoever puts there first wins: a bundle, or the
    marker that :meth:`settle` leaves.
    """

    @property
    def uri(self) -> str:
        """The store's location, absolute, without credentials."""
        ...

    def commit(self, bundle: RunBundle) -> CommitReceipt:
        """Make the run's results durable and visible, all or nothing.

        Raises:
            SchemaError: A column's type differs from the one it was registered with.
            EventAbandonedError: The event was settled as not completed.
            StoreError: It could not be written; nothing of it is visible.
        """
        ...

    def settle(self, event_id: str) -> CapabilityRunRef | None:
        """Decide, once and for all, whether the event was committed.

        Returns:
            The reference if it was. Otherwise None, and the event can no longer be committed.
        """
        ...

    def reference(self, event_id: str) -> CapabilityRunRef | None:
        """The reference of an event if it is committed, else None. Changes nothing: it may be committed later.

        Raises:
            StoreError: The store could not be asked.
        """
        ...

    def check_columns(self, table: str, columns: Mapping[str, ScalarType]) -> None:
        """Refuse columns that a commit could not write, before there is anything to commit. Changes nothing.

        Raises:
            SchemaError: A column is registered with another type.
            StoreError: The store could not be asked.
        """
        ...

    def stage(self, event_id: str, data: bytes) -> None:
        """Keep what a run has computed, until it is committed, apart from all results: no query sees it.

        What is there already for this event stays. It is removed by :meth:`discard_staged`, and by the store's own
        housekeeping once it is long of no use. Who can write here can run code on a worker that takes it up again.

        Raises:
            StoreError: It could not be written.
        """
        ...

    def staged(self, event_id: str) -> bytes | None:
        """What was kept by :meth:`stage`, byte by byte; None if nothing was, or is any more.

        Raises:
            StoreError: The store could not be asked, or it is damaged.
        """
        ...

    def has_staged(self, event_id: str) -> bool:
        """Whether :meth:`staged` would give something; it is not read.

        Raises:
            StoreError: The store could not be asked.
        """
        ...

    def discard_staged(self, event_id: str) -> None:
        """Remove what :meth:`stage` kept; nothing if there is nothing, or where this process may not delete.

        Raises:
            StoreError: The store could not be reached.
        """
        ...

    def put_report(self, event_id: str, report: InlineTextReport) -> ArtifactReport:
        """Keep a large report as an object of its own, before the commit. Idempotent by event and content."""
        ...

    def write(
        self,
        run: Any,
        provenance: Provenance | None = None,
        *,
        report_threshold: float = 0.5,
        event_id: str | None = None,
    ) -> CommitReceipt:
        """Store a run made without a job, and its report; its key is the run_uid, so a repeat changes nothing.

        Args:
            run: Any run.
            provenance: Where it comes from.
            report_threshold: Passed to the run's report.
            event_id: A key of its own, for a further result of the same run.

        Raises:
            WriteConflictError: The event holds other content already; it says what differs.
        """
        ...

    def query(self, sql: str) -> pyarrow.Table:
        """Answer one SQL statement from the newest event of every run."""
        ...

    def tables(self) -> list[str]:
        """Names of all tables, sorted; ``runs`` is always one."""
        ...

    def schema(self, table: str) -> dict[str, str]:
        """Type of each column by name: values of ``ScalarType``, each a ``ColumnType`` with a ``note``."""
        ...

    def files(self, table: str) -> list[str]:
        """The Parquet files that hold the table's folded rows: absolute paths on local disk, full URIs elsewhere."""
        ...

    def read_report(self, reference: CapabilityRunRef) -> str | None:
        """The text of a run's report, wherever it lies; None if it has none."""
        ...

    def maintain(self, *, at_least: int = 1) -> None:
        """Put the store in order for quick reading, if at least ``at_least`` commits wait for that.

        Backends call it after many jobs and when they are shut down, on a worker, with the worker's credentials. It
        changes no answer, may be called at any time by any number of processes, beside writers and readers, and may
        be ended at any point. A reader never calls it. A store that is always in order does nothing.

        Raises:
            StoreError: It could not be done; everything is as readable as before.
        """
        ...

    def probe(self, token: str) -> None:
        """Prove that results can be written here from this process, and leave a few bytes under ``token``.

        Goes the way of a commit: it writes, reads back, and makes sure that a second write to one key is refused.
        Nothing is founded and no answer changes. A repeat is no error.

        Args:
            token: From :func:`checkmaite_core.naming.new_probe_token`.

        Raises:
            StoreFormatError: Something else than a store lies at the location, or a store of another format.
            ConditionalPutError: The location does not honour put-if-absent.
            StoreError: It could not be written or read; the type says why.
        """
        ...

    def has_probe(self, token: str) -> bool:
        """Whether a probe was left under ``token``: whether the one who left it means the same place. Only reads.

        Raises:
            StoreError: The store could not be asked.
        """
        ...

    def remove_probe(self, token: str) -> None:
        """Remove what :meth:`probe` left. One that is absent is no error.

        Where this process may not delete, it stays, and is removed with the store's other rubbish by and by.
        """
        ...

    def close(self) -> None:
        """Let go of connections; the data is not touched."""
        ...


class ResultStorePlugin(Protocol):
    """What the entry point group ``checkmaite.result_stores`` names."""

    def open(self, uri: str, storage_options: Mapping[str, Any]) -> ResultStore:
        """Open the store for reading and writing; nothing is created before the first write."""
        ...


def maintenance_warning(uri: str, why: str) -> StoreMaintenanceWarning:
    """The warning that a store was not put in order.

    Args:
        uri: The store's location.
        why: What stood in the way; the text of an error, say.
    """
    return StoreMaintenanceWarning(
        f"the analytics store at {uri} was not put in order by itself: {why}\n"
        "  -> No result is lost or hidden; queries get slower. It is tried again after more runs. To do it now, and to "
        f"see what stands in the way: checkmaite store fold --store {uri}"
    )


def upload_large_report(store: ResultStore, bundle: RunBundle) -> RunBundle:
    """Move a report that is too large to travel with the reference to an object of its own.

    Raises:
        StoreError: It could not be kept; then the bundle must not be committed.
    """
    report = bundle.reference.report
    if not isinstance(report, InlineTextReport) or len(report.content.encode()) <= INLINE_REPORT_LIMIT:
        return bundle
    artifact = store.put_report(bundle.event_id, report)
    return replace(bundle, reference=bundle.reference.model_copy(update={"report": artifact}))


def open_result_store(config: AnalyticsStoreConfig) -> ResultStore:
    """Open the store that ``config`` names.

    Raises:
        PluginError: The backend is not installed or cannot be loaded.
        StoreError: The location cannot be used.
    """
    plugin: ResultStorePlugin = load_plugin(RESULT_STORES, config.backend)
    return plugin.open(config.uri, config.storage_options)
