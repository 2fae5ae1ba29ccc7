"""The commit point: one put at the event's key, and what it means to find it taken."""

from __future__ import annotations

import threading

from checkmaite_analytics_store._bundle import Abandoned, StoredRun, encode_bundle, encode_marker
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._format import StoreFormat
from checkmaite_analytics_store._inbox import Inbox
from checkmaite_analytics_store._index import EventIndex, EventState
from checkmaite_analytics_store._layout import inbox_key
from checkmaite_analytics_store._manifest import ManifestReader
from checkmaite_analytics_store._schemas import SchemaRegistry
from checkmaite_analytics_store._sealed import corrupt
from checkmaite_core.errors import CorruptObjectError, EventAbandonedError, ObjectExistsError, ObjectNotFoundError
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.store import CommitReceipt, RunBundle
from checkmaite_storage import ObjectStore

__all__ = ["Committer"]

_REMEMBERED = 256
"""Commits of this process, such that a repeat of one is a single request."""


class Committer:
    """Commits and settles events. Safe for several threads."""

    def __init__(
        self,
        objects: ObjectStore,
        store_format: StoreFormat,
        schemas: SchemaRegistry,
        inbox: Inbox,
        manifests: ManifestReader,
        reader: FoldedReader,
    ) -> None:
        self._objects = objects
        self._format = store_format
        self._schemas = schemas
        self._inbox = inbox
        self._manifests = manifests
        self._reader = reader
        self._learned = False
        self._lock = threading.Lock()
        self._own: dict[str, CapabilityRunRef] = {}

    def commit(self, bundle: RunBundle) -> CommitReceipt:
        """See :meth:`AnalyticsStore.commit`."""
        key = inbox_key(bundle.event_id)
        data = encode_bundle(bundle)
        self._format.found()
        for table in bundle.tables:
            columns = {name: kind for name, kind in table.columns.items() if name != "run_uid"}
            self._schemas.register(table.table, columns)
        index = self._known_index()
        while bundle.event_id not in index:
            try:
                self._objects.put_if_absent(key, data)
            except ObjectExistsError:
                own = self._own.get(bundle.event_id)
                if own is not None:  # what this process committed stays committed
                    return CommitReceipt(bundle.event_id, created=False, reference=own)
                found = self._read(bundle.event_id)
                index = self._newest_index()
                if found is None or bundle.event_id in index:
                    continue
                return CommitReceipt(bundle.event_id, created=False, reference=self._committed(found))
            self._remember(bundle.reference)
            return CommitReceipt(bundle.event_id, created=True, reference=bundle.reference)
        reference = self._folded_reference(bundle.event_id)
        if reference is None:
            raise _abandoned(bundle.event_id)
        return CommitReceipt(bundle.event_id, created=False, reference=reference)

    def settle(self, event_id: str) -> CapabilityRunRef | None:
        """See :meth:`AnalyticsStore.settle`."""
        key = inbox_key(event_id)
        self._format.found()
        while True:
            try:
                self._objects.put_if_absent(key, encode_marker(event_id))
            except ObjectExistsError:
                found = self._read(event_id)
                if event_id not in self._newest_index():
                    if found is None:
                        continue  # removed by hand
                    return found.reference if isinstance(found, StoredRun) else None
            # The index is read after the put: a run that was folded and removed before it is in there.
            return self._folded_reference(event_id)

    def reference(self, event_id: str) -> CapabilityRunRef | None:
        """See :meth:`AnalyticsStore.reference`."""
        found = self._read(event_id)
        if event_id in self._newest_index():
            return self._folded_reference(event_id)
        return found.reference if isinstance(found, StoredRun) else None

    def _remember(self, reference: CapabilityRunRef) -> None:
        with self._lock:
            self._own[reference.event_id] = reference
            while len(self._own) > _REMEMBERED:
                del self._own[next(iter(self._own))]

    def _read(self, event_id: str) -> StoredRun | Abandoned | None:
        """What lies at an event's key; None if it has been removed, which follows its folding.

        Only where the index does not have the event does it count: after a removal, a late marker or a straggler's
        bundle can lie there, which must not change what the event has become.
        """
        try:
            return self._inbox.read(event_id)
        except ObjectNotFoundError:
            return None

    def _known_index(self) -> EventIndex:
        """The index as this process last saw it, so that a commit is one request; read once at its first commit."""
        if not self._learned:
            self._newest_index()
            self._learned = True
        return self._manifests.known_index()

    def _newest_index(self) -> EventIndex:
        return self._manifests.newest_with_index()[1]

    def _committed(self, found: StoredRun | Abandoned) -> CapabilityRunRef:
        if isinstance(found, Abandoned):
            raise _abandoned(found.event_id)
        return found.reference

    def _folded_reference(self, event_id: str) -> CapabilityRunRef | None:
        """The reference of an event that the newest manifest has as folded; None for any other."""
        while True:
            manifest, index = self._manifests.newest_with_index()
            if manifest is None or index.state(event_id) is not EventState.FOLDED:
                return None
            try:
                reference = self._reader.reference(manifest, event_id)
            except CorruptObjectError:
                if self._manifests.newest_number() == manifest.number:
                    raise
                continue  # the file may be gone by right
            if reference is None:
                raise corrupt(
                    f"{self._objects.uri}/tables/_references",
                    f"event {event_id!r} is folded, but has no reference there",
                )
            return reference


def _abandoned(event_id: str) -> EventAbandonedError:
    return EventAbandonedError(
        f"event {event_id!r} was settled as not completed, so its results can no longer be stored.",
        hint="Nothing is to be done for this attempt: its job has already ended as failed, cancelled or lost. "
        "Submit the work again if the results are wanted.",
    )
