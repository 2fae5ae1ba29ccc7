"""Folded files: read whole and checked, and asked for the events that they hold."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Collection, Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from checkmaite_analytics_store._layout import REFERENCES
from checkmaite_analytics_store._manifest import FileEntry, Manifest
from checkmaite_analytics_store._order import EventOrder, Stamp
from checkmaite_analytics_store._sealed import corrupt
from checkmaite_analytics_store._types import arrow_schema
from checkmaite_core.errors import ObjectNotFoundError
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_storage import ObjectStore

__all__ = ["FoldedReader"]

_UNKNOWN = Stamp("", 0)


class FoldedReader:
    """Reads folded files; remembers which ones it has found to be whole. Safe for several threads."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._whole: set[str] = set()

    def uri_of(self, entry: FileEntry) -> str:
        """Where a file lies."""
        return f"{self._objects.uri}/{entry.key}"

    def check(self, entry: FileEntry) -> None:
        """Make sure once per process that a file is what the manifest says.

        Raises:
            CorruptObjectError: It is not, or it is gone.
        """
        with self._lock:
            if entry.sha256 in self._whole:
                return
        self.read_bytes(entry)

    def read_bytes(self, entry: FileEntry) -> bytes:
        """A file's bytes, checked.

        Raises:
            CorruptObjectError: Its size or digest is not the one in the manifest, or it is gone.
        """
        uri = self.uri_of(entry)
        with self._lock:
            self._whole.discard(entry.sha256)  # whatever it was before
        try:
            data = self._objects.get(entry.key)
        except ObjectNotFoundError as error:
            raise corrupt(uri, "it is gone, but the manifest names it") from error
        if len(data) != entry.size:
            raise corrupt(uri, f"it has {len(data)} bytes where the manifest says {entry.size}")
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise corrupt(uri, "its checksum is not the one in the manifest")
        with self._lock:
            self._whole.add(entry.sha256)
        return data

    def read(self, entry: FileEntry, columns: list[str] | None = None) -> pa.Table:
        """A file's rows.

        Raises:
            CorruptObjectError: It is damaged, or is not a Parquet file of the columns in the manifest.
        """
        data = self.read_bytes(entry)
        try:
            # Not read_table(): that starts threads, and one which has not run yet when a short process ends makes
            # Arrow abort it, whatever its exit status was to be.
            with pq.ParquetFile(pa.BufferReader(data), pre_buffer=False, page_checksum_verification=True) as file:
                table = file.read(columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise corrupt(self.uri_of(entry), f"it is not a Parquet file ({error})") from error
        expected = arrow_schema({name: kind for name, kind in entry.columns if columns is None or name in columns})
        if not table.schema.equals(expected) or table.num_rows != entry.rows:
            raise corrupt(self.uri_of(entry), "its columns or rows are not those in the manifest")
        return table

    def current_events(self, manifest: Manifest | None, newer: Mapping[str, datetime]) -> dict[str, EventOrder]:
        """The event whose rows the folded files show, for those of some runs that have one.

        Args:
            manifest: The folded part.
            newer: By run_uid, when the event was committed that is to be compared with it. Only a folded event of
                the same time gets its stamp, since that lies in another table.

        Raises:
            CorruptObjectError: A file of the table ``runs`` is damaged, or one that holds a stamp.
        """
        found: dict[str, EventOrder] = {}
        if not newer:
            return found
        wanted = pa.array(sorted(newer), type=pa.string())
        for entry in manifest.runs if manifest else ():
            table = self.read(entry, ["event_id", "run_uid", "is_current", "committed_at"])
            mask = pc.and_(table["is_current"], pc.is_in(table["run_uid"], value_set=wanted))
            for row in table.filter(mask).to_pylist():
                order = EventOrder(row["committed_at"], _UNKNOWN, row["event_id"])
                found[row["run_uid"]] = max(order, found.get(row["run_uid"], order))
        ties = {order.event_id: uid for uid, order in found.items() if order.committed_at == newer[uid]}
        for event_id, stamp in self._stamps(manifest, ties.keys()).items():
            found[ties[event_id]] = dataclasses.replace(found[ties[event_id]], stamp=stamp)
        return found

    def _stamps(self, manifest: Manifest | None, event_ids: Collection[str]) -> dict[str, Stamp]:
        found: dict[str, Stamp] = {}
        if not event_ids:
            return found
        wanted = pa.array(sorted(event_ids), type=pa.string())
        for entry in manifest.files(REFERENCES) if manifest else ():
            table = self.read(entry, ["event_id", "writer", "sequence"])
            for row in table.filter(pc.is_in(table["event_id"], value_set=wanted)).to_pylist():
                found[row["event_id"]] = Stamp(row["writer"], row["sequence"])
        return found

    def reference(self, manifest: Manifest, event_id: str) -> CapabilityRunRef | None:
        """The reference of a folded event.

        Raises:
            CorruptObjectError: A file on the way is damaged.
        """
        for entry in manifest.files(REFERENCES):
            table = self.read(entry)
            rows = table.filter(pc.equal(table["event_id"], event_id)).to_pylist()
            if rows:
                return CapabilityRunRef.model_validate_json(rows[0]["reference"])
        return None
