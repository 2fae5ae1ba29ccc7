"""What an event of the store says, to compare a repeated write with it."""

from __future__ import annotations

from collections.abc import Mapping

from checkmaite_analytics_store._bundle import StoredRun
from checkmaite_analytics_store._columns import decode_tables
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._inbox import Inbox
from checkmaite_analytics_store._index import EventState
from checkmaite_analytics_store._manifest import Manifest, ManifestReader
from checkmaite_analytics_store._types import KEY_COLUMNS
from checkmaite_core.content import Content, content_of
from checkmaite_core.errors import ObjectNotFoundError, StoreError
from checkmaite_core.record import Scalar
from checkmaite_core.reference import CapabilityRunRef

__all__ = ["EventContents"]


class EventContents:
    """Reads back single events, from the inbox or from folded files. Safe for several threads."""

    def __init__(self, inbox: Inbox, manifests: ManifestReader, reader: FoldedReader) -> None:
        self._inbox = inbox
        self._manifests = manifests
        self._reader = reader

    def folded_reference(self, event_id: str) -> CapabilityRunRef | None:
        """The reference of an event that the newest manifest has; None if it has it not, or cannot be asked.

        What lies at the key of such an event, if anything, does not count.
        """
        try:
            manifest, index = self._manifests.newest_with_index()
            if manifest is None or index.state(event_id) is not EventState.FOLDED:
                return None
            return self._reader.reference(manifest, event_id)
        except StoreError:  # what was written is safe whatever is wrong there; readers will meet it
            return None

    def read(self, event_id: str) -> Content | None:
        """What an event holds; None if it is not committed.

        The rows of a folded event are gone once a later event of its run has been folded; then there are no tables.

        Raises:
            CorruptObjectError: An object on the way is damaged.
            StorageError: The store cannot be read.
        """
        while True:
            manifest, index = self._manifests.newest_with_index()
            state = index.state(event_id)
            if state is not None:
                return self._folded(manifest, event_id) if manifest and state is EventState.FOLDED else None
            try:
                found = self._inbox.read(event_id)
            except ObjectNotFoundError:
                if self._manifests.newest_with_index()[1].state(event_id) is None:
                    return None
                continue  # it was folded and removed meanwhile
            return self._new(found) if isinstance(found, StoredRun) else None

    def _new(self, run: StoredRun) -> Content:
        tables = {}
        for table in run.tables:
            parts = [(run.event_id, run.reference.run_uid, table)]
            rows = decode_tables(parts, {**KEY_COLUMNS, **table.columns}, self._inbox.uri_of)
            tables[table.name] = rows.to_pylist()
        return content_of(run.reference, run.config, tables)

    def _folded(self, manifest: Manifest, event_id: str) -> Content | None:
        reference = self._reader.reference(manifest, event_id)
        if reference is None:
            return None
        config = ""
        for entry in manifest.runs:
            for run in self._reader.scan(entry, ["event_id", "config"], "event_id", [event_id]):
                config = run["config"]
        tables: dict[str, list[Mapping[str, Scalar]]] = {}
        for table, count in reference.tables.items():
            rows: list[Mapping[str, Scalar]] = []
            for file in manifest.files(table):
                columns = [name for name, _ in file.columns]
                found = self._reader.scan(file, columns, "run_uid", [reference.run_uid])
                rows.extend(row for row in found if row["event_id"] == event_id)
            if len(rows) != count:
                return content_of(reference, config, None)
            tables[table] = rows
        return content_of(reference, config, tables)
