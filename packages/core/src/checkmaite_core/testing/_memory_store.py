"""A result store in memory: for unit tests, and the plainest statement of what a result store does."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from checkmaite_core.content import conflict, content_of, first_difference, with_content_digest
from checkmaite_core.errors import EventAbandonedError, ObjectNotFoundError, QueryError, SchemaError
from checkmaite_core.naming import check_event_id, check_probe_token
from checkmaite_core.provenance import Provenance, resolve_provenance
from checkmaite_core.record import ColumnType, Scalar, ScalarType
from checkmaite_core.reference import CapabilityRunRef, inputs_text
from checkmaite_core.report import ArtifactReport, InlineTextReport
from checkmaite_core.run import bundle_run, make_report
from checkmaite_core.store import CommitReceipt, RunBundle, upload_large_report

if TYPE_CHECKING:
    import pyarrow

__all__ = ["MEMORY_STORE", "MemoryResultStore", "MemoryStorePlugin"]

_RUN_COLUMNS = {
    **dict.fromkeys(("event_id", "run_uid", "capability_id", "config", "inputs"), ScalarType.STRING),
    **{name: ScalarType.TIMESTAMP if name.endswith("_at") else ScalarType.STRING for name in Provenance.model_fields},
}


@dataclass
class _Contents:
    """What lies at one location of this process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    events: dict[str, RunBundle | None] = field(default_factory=dict)  # None marks an abandoned one
    columns: dict[str, dict[str, ScalarType]] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)
    staged: dict[str, bytes] = field(default_factory=dict)
    probes: set[str] = field(default_factory=set)


class MemoryResultStore:
    """A result store whose contents end with the process. It has no SQL: read it with :meth:`rows`.

    Args:
        uri: Its location, such as ``memory://mine``.
        contents: Shared by the stores on one location; a new, empty one if left out.
    """

    def __init__(self, uri: str = "memory://", contents: _Contents | None = None) -> None:
        self._uri = uri
        self._contents = contents or _Contents()

    @property
    def uri(self) -> str:
        """Its location."""
        return self._uri

    def commit(self, bundle: RunBundle) -> CommitReceipt:
        """Keep a run's results (see :meth:`checkmaite_core.ResultStore.commit`)."""
        contents = self._contents
        with contents.lock:
            if bundle.event_id in contents.events:
                earlier = contents.events[bundle.event_id]
                if earlier is None:
                    raise EventAbandonedError(
                        f"event {bundle.event_id!r} of {self.uri} was settled as not completed.",
                        hint="Submit the work again; a settled job never gets results.",
                    )
                return CommitReceipt(bundle.event_id, False, earlier.reference)
            self._register(bundle)
            contents.events[bundle.event_id] = bundle
            return CommitReceipt(bundle.event_id, True, bundle.reference)

    def _register(self, bundle: RunBundle) -> None:
        for rows in bundle.tables:
            self._check(rows.table, rows.columns)
        for rows in bundle.tables:
            self._contents.columns.setdefault(rows.table, {}).update(rows.columns)

    def _check(self, table: str, columns: Mapping[str, ScalarType]) -> None:
        known = self._contents.columns.get(table, {})
        for name, kind in columns.items():
            if known.get(name, kind) != kind:
                raise SchemaError(
                    f"table {table!r}, column {name!r} holds {known[name]}, but the new rows hold {kind}.",
                    hint="Give the column its first type, or a new name.",
                )

    def check_columns(self, table: str, columns: Mapping[str, ScalarType]) -> None:
        """Refuse columns that have another type here."""
        with self._contents.lock:
            self._check(table, columns)

    def stage(self, event_id: str, data: bytes) -> None:
        """Keep what a run has computed; what is there already stays."""
        with self._contents.lock:
            self._contents.staged.setdefault(check_event_id(event_id), data)

    def staged(self, event_id: str) -> bytes | None:
        """What was kept; None if nothing was."""
        with self._contents.lock:
            return self._contents.staged.get(check_event_id(event_id))

    def has_staged(self, event_id: str) -> bool:
        """Whether something was kept."""
        return self.staged(event_id) is not None

    def discard_staged(self, event_id: str) -> None:
        """Remove what was kept."""
        with self._contents.lock:
            self._contents.staged.pop(check_event_id(event_id), None)

    def settle(self, event_id: str) -> CapabilityRunRef | None:
        """Decide whether the event was committed (see :meth:`checkmaite_core.ResultStore.settle`)."""
        with self._contents.lock:
            found = self._contents.events.setdefault(check_event_id(event_id), None)
            return None if found is None else found.reference

    def reference(self, event_id: str) -> CapabilityRunRef | None:
        """The reference of an event if it is committed, else None."""
        with self._contents.lock:
            found = self._contents.events.get(check_event_id(event_id))
            return None if found is None else found.reference

    def put_report(self, event_id: str, report: InlineTextReport) -> ArtifactReport:
        """Keep a large report."""
        data = report.content.encode()
        digest = hashlib.sha256(data).hexdigest()
        key = f"reports/{check_event_id(event_id)}/{digest}"
        with self._contents.lock:
            self._contents.reports[key] = report.content
        return ArtifactReport(
            media_type=report.media_type, filename=report.filename, uri=key, size=len(data), sha256=digest
        )

    def write(
        self,
        run: Any,
        provenance: Provenance | None = None,
        *,
        report_threshold: float = 0.5,
        event_id: str | None = None,
    ) -> CommitReceipt:
        """Store a run made without a job, and its report."""
        report = make_report(run, report_threshold)
        provenance = provenance or resolve_provenance()
        event_id = run.run_uid if event_id is None else event_id
        bundle = bundle_run(run, event_id=event_id, provenance=provenance, store_uri=self.uri, report=report)
        bundle = with_content_digest(upload_large_report(self, bundle))
        receipt = self.commit(bundle)
        if not receipt.created:
            with self._contents.lock:
                earlier = self._contents.events[event_id]
            assert earlier is not None
            tables = {rows.table: rows.rows for rows in earlier.tables}
            difference = first_difference(content_of(earlier.reference, earlier.config, tables), bundle)
            if difference is not None:
                raise conflict(self.uri, bundle, difference)
        return receipt

    def rows(self, table: str) -> list[dict[str, Scalar]]:
        """The rows of a table: of ``runs`` one per event, of the others those of the newest event of each run."""
        with self._contents.lock:
            bundles = [bundle for bundle in self._contents.events.values() if bundle is not None]
            columns = dict(self._contents.columns.get(table, {}))
        if table == "runs":
            return [_run_row(bundle) for bundle in bundles]
        newest = {bundle.reference.run_uid: bundle for bundle in bundles}
        return [
            {**dict.fromkeys(columns), **row, "event_id": bundle.event_id}
            for bundle in newest.values()
            for rows in bundle.tables
            if rows.table == table
            for row in rows.rows
        ]

    def query(self, sql: str) -> pyarrow.Table:
        """Always refused: there is no SQL here."""
        raise QueryError("a store in memory has no SQL.", hint="Read it with rows(table), or use a 'parquet' store.")

    def tables(self) -> list[str]:
        """Names of all tables."""
        with self._contents.lock:
            return sorted({"runs", *self._contents.columns})

    def schema(self, table: str) -> dict[str, str]:
        """Type of each column by name."""
        if table == "runs":
            return {name: ColumnType(kind) for name, kind in _RUN_COLUMNS.items()}
        with self._contents.lock:
            return {name: ColumnType(kind) for name, kind in self._contents.columns.get(table, {}).items()}

    def files(self, table: str) -> list[str]:
        """There are none."""
        return []

    def read_report(self, reference: CapabilityRunRef) -> str | None:
        """The text of a run's report."""
        report = reference.report
        if report is None:
            return None
        if isinstance(report, InlineTextReport):
            return report.content
        with self._contents.lock:
            if report.uri in self._contents.reports:
                return self._contents.reports[report.uri]
        raise ObjectNotFoundError(
            f"there is no report {report.uri!r} in {self.uri}.", hint="Run the capability again.", uri=report.uri
        )

    def maintain(self, *, at_least: int = 1) -> None:
        """Nothing to do: memory is always in order."""

    def probe(self, token: str) -> None:
        """Leave a probe (see :meth:`checkmaite_core.ResultStore.probe`)."""
        with self._contents.lock:
            self._contents.probes.add(check_probe_token(token))

    def has_probe(self, token: str) -> bool:
        """Whether a probe was left under ``token``."""
        with self._contents.lock:
            return check_probe_token(token) in self._contents.probes

    def remove_probe(self, token: str) -> None:
        """Remove a probe."""
        with self._contents.lock:
            self._contents.probes.discard(check_probe_token(token))

    def close(self) -> None:
        """Nothing has to be let go."""


def _run_row(bundle: RunBundle) -> dict[str, Scalar]:
    reference = bundle.reference
    return {
        "event_id": bundle.event_id,
        "run_uid": reference.run_uid,
        "capability_id": reference.capability_id,
        "config": bundle.config,
        "inputs": inputs_text(reference),
        **bundle.provenance.model_dump(),
    }


class MemoryStorePlugin:
    """Opens stores in memory; those opened at one location share their contents."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locations: dict[str, _Contents] = {}

    def open(self, uri: str, storage_options: Mapping[str, Any]) -> MemoryResultStore:
        """Open the store at ``uri``; any text will do."""
        with self._lock:
            return MemoryResultStore(uri, self._locations.setdefault(uri, _Contents()))


MEMORY_STORE = MemoryStorePlugin()
"""What an entry point of the group ``checkmaite.result_stores`` can name."""
