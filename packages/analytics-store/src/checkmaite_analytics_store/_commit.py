"""The commit point: one put at the event's key, and what it means to find it taken.

A commit needs the event's key and the put, and nothing else: no index, no manifest, no listing. Whatever is damaged,
gone or out of reach there, the hours of a run are safe once its put is done. The index only makes answers better:

- Nothing happened to the event before: the put creates it.
- It lies in the inbox, folded or not: the put finds it there, and its reference is the answer.
- It was folded and removed: the put makes an object that counts for nothing, since the index has the event. If the
  index can be read the folded reference is the answer; if not, the receipt says ``created``, and nothing has changed.
- It was settled as not completed: the put finds the marker and is refused. If the marker was folded and removed, it is
  refused if the index can be read; if not, the receipt says ``created``, though nobody will ever see a row of it.
- It was folded and removed, and then a late settler left a marker: the put finds that. Only the index tells what it
  means, so where that cannot be read its error is raised: it is not known.

So an answer may be too kind where the index cannot be read, and the store is never wrong: ids never leave the index,
and readers and folds drop an inbox object whose event it has. (Its job has long ended, and a terminal status never
changes.) The index is read once per process, after its first put, and again when the process has seen a newer manifest.

Settling is different: it has to say whether the event *was* committed, so it reads the index after its put, and where
that cannot be read it is not known, and raised.
"""

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
from checkmaite_core.errors import (
    CorruptObjectError,
    EventAbandonedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StoreError,
)
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
        while True:
            state = self._remembered(bundle.event_id)
            if state is not None:
                return self._repeat_of(state, bundle)
            try:
                self._objects.put_if_absent(key, data)
            except ObjectExistsError:
                receipt = self._found_there(bundle)
                if receipt is None:
                    continue  # it was folded and removed meanwhile, or removed by hand
                return receipt
            state = self._learned_of(bundle.event_id)
            if state is not None:
                return self._repeat_of(state, bundle)
            self._remember(bundle.reference)
            return CommitReceipt(bundle.event_id, created=True, reference=bundle.reference)

    def _found_there(self, bundle: RunBundle) -> CommitReceipt | None:
        """What a commit comes to whose event's key is taken; None if it is free again."""
        own = self._own.get(bundle.event_id)
        if own is not None:  # what this process committed stays committed
            return CommitReceipt(bundle.event_id, created=False, reference=own)
        found = self._read(bundle.event_id)
        try:
            state = self._newest_index().state(bundle.event_id)
        except StoreError:
            if isinstance(found, Abandoned):
                raise  # a late settler's marker may lie there of an event that was folded: it is not known
            state = None
        if state is not None:
            return self._repeat_of(state, bundle)
        if found is None:
            return None
        return CommitReceipt(bundle.event_id, created=False, reference=self._committed(found))

    def _repeat_of(self, state: EventState, bundle: RunBundle) -> CommitReceipt:
        """What the commit of an event comes to that the index has."""
        if state is EventState.ABANDONED:
            raise _abandoned(bundle.event_id)
        try:
            reference = self._folded_reference(bundle.event_id)
        except StoreError:
            reference = None
        # It is committed all the same; its reference differs from ours in its time, if in anything.
        return CommitReceipt(bundle.event_id, created=False, reference=reference or bundle.reference)

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

    def _remembered(self, event_id: str) -> EventState | None:
        """What the index says of an event, as this process last saw it: nothing is asked of the store."""
        return self._manifests.remembered_index().state(event_id)

    def _learned_of(self, event_id: str) -> EventState | None:
        """The same, read first if this process has not read it yet, or knows of a newer one; None where it cannot be.

        It is asked after the put, so that nothing which goes wrong here can cost a result.
        """
        try:
            if not self._learned or self._manifests.remembered_is_outdated():
                self._newest_index()
                self._learned = True
            return self._remembered(event_id)
        except StoreError:
            return None

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
