"""Folded files: read whole and checked, and asked for the events that they hold."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from checkmaite_analytics_store._layout import REFERENCES
from checkmaite_analytics_store._manifest import FileEntry, Manifest
from checkmaite_analytics_store._order import EventOrder, Stamp
from checkmaite_analytics_store._ranged import RangedFile
from checkmaite_analytics_store._sealed import corrupt
from checkmaite_analytics_store._streams import in_chunks
from checkmaite_analytics_store._types import arrow_schema
from checkmaite_core.errors import ObjectNotFoundError, StorageUnreachableError
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_storage import ObjectStore

__all__ = ["FoldedReader"]

_UNKNOWN = Stamp("", 0)
_CHUNK = 8 * 1024 * 1024
"""Bytes."""


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
        """Make sure once per process that a file is what the manifest says, reading it in chunks.

        Raises:
            CorruptObjectError: It is not, or it is gone.
        """
        with self._lock:
            if entry.sha256 in self._whole:
                return
        self.recheck(entry)

    def recheck(self, entry: FileEntry) -> None:
        """The same, whatever was found before.

        Raises:
            CorruptObjectError: Its size or digest is not the one in the manifest, or it is gone.
        """
        self._forget(entry)
        digest = hashlib.sha256()
        size: int | None = 0
        try:
            for chunk in self._chunks(entry):
                digest.update(chunk)
                size = (size or 0) + len(chunk)
        except OSError:
            size = None
        if size is None:
            self.read_bytes(entry)  # the store says what is wrong
        else:
            self._compare(entry, size, digest.hexdigest())

    def explain(self, entries: Iterable[FileEntry]) -> None:
        """Raise why files could not be read in parts.

        Raises:
            CorruptObjectError: One is damaged or gone.
            StorageError: One cannot be read for another reason, or could not a moment ago.
        """
        uris = []
        for entry in entries:
            self.read_bytes(entry)
            uris.append(self.uri_of(entry))
        raise StorageUnreachableError(
            f"{', '.join(uris)} could not be read in parts, though a whole read succeeded just now.",
            hint="Ask again: the store seems to have failed for a moment.",
            uri=uris[0] if uris else self._objects.uri,
        )

    def read_bytes(self, entry: FileEntry) -> bytes:
        """A file's bytes, checked.

        Raises:
            CorruptObjectError: Its size or digest is not the one in the manifest, or it is gone.
        """
        self._forget(entry)  # whatever it was before
        data = self._get(entry)
        self._compare(entry, len(data), hashlib.sha256(data).hexdigest())
        return data

    def _get(self, entry: FileEntry) -> bytes:
        try:
            return self._objects.get(entry.key)
        except ObjectNotFoundError as error:
            raise corrupt(self.uri_of(entry), "it is gone, but the manifest names it") from error

    def _compare(self, entry: FileEntry, size: int, digest: str) -> None:
        if size != entry.size:
            raise corrupt(self.uri_of(entry), f"it has {size} bytes where the manifest says {entry.size}")
        if digest != entry.sha256:
            raise corrupt(self.uri_of(entry), "its checksum is not the one in the manifest")
        with self._lock:
            self._whole.add(entry.sha256)

    def _forget(self, entry: FileEntry) -> None:
        with self._lock:
            self._whole.discard(entry.sha256)

    def _chunks(self, entry: FileEntry) -> Iterator[bytes]:
        """A file's bytes, in order; an OSError where they cannot be had."""
        if not self._objects.is_local:
            if entry.size <= _CHUNK:
                yield self._get(entry)
                return
            with RangedFile(self._objects, entry) as remote:
                while chunk := remote.read(_CHUNK):
                    yield chunk
            return
        # O_NONBLOCK: a named pipe in a file's place must not make us wait for its writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(self._objects.path(entry.key), flags), "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def scan(
        self, entry: FileEntry, columns: Sequence[str], key: str, wanted: Collection[str]
    ) -> Iterator[Mapping[str, Any]]:
        """Those rows whose ``key`` is one of ``wanted``; only ``columns`` are read, one row group at a time.

        Raises:
            CorruptObjectError: The file is damaged, or not a Parquet file of the columns in the manifest.
            StorageError: It cannot be read.
        """
        if not wanted:
            return
        least, greatest = min(wanted), max(wanted)
        values = pa.array(sorted(wanted), type=pa.string())
        if self._objects.is_local:
            self.check(entry)
        failed: set[str] = set()
        try:
            # Neither pre_buffer nor use_threads: a thread which has not run yet when a short process ends makes
            # Arrow abort it, whatever its exit status was to be.
            with self._parquet(entry, failed) as file:
                expected = arrow_schema(dict(entry.columns))
                if not file.schema_arrow.equals(expected) or file.metadata.num_rows != entry.rows:
                    raise corrupt(self.uri_of(entry), "its columns or rows are not those in the manifest")
                position = expected.names.index(key)
                for group in range(file.num_row_groups):
                    statistics = file.metadata.row_group(group).column(position).statistics
                    known = statistics is not None and statistics.has_min_max
                    if known and (statistics.max < least or statistics.min > greatest):
                        continue
                    rows = file.read_row_group(group, columns=list(columns), use_threads=False)
                    yield from rows.filter(pc.is_in(rows[key], value_set=values)).to_pylist()
            return
        except (pa.ArrowException, OSError) as error:
            problem = str(error)
        if failed:
            self.explain([entry])
        self.recheck(entry)
        raise corrupt(self.uri_of(entry), f"it cannot be read as a Parquet file ({problem})")

    def _parquet(self, entry: FileEntry, failed: set[str]) -> pq.ParquetFile:
        if self._objects.is_local:
            source: Any = self._objects.path(entry.key)
            return pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
        source = pa.PythonFile(RangedFile(self._objects, entry, failed), mode="r")
        return pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)

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

    def chunks(self, entry: FileEntry, columns: list[str] | None = None, *, size: int = _CHUNK) -> Iterator[pa.Table]:
        """A file's rows in order, in tables of about ``size`` bytes, whatever it unpacks to.

        Raises:
            CorruptObjectError: It is damaged, or is not a Parquet file of the columns in the manifest.
        """
        data = self.read_bytes(entry)
        expected = arrow_schema({name: kind for name, kind in entry.columns if columns is None or name in columns})
        found = 0
        try:
            with pq.ParquetFile(pa.BufferReader(data), pre_buffer=False, page_checksum_verification=True) as file:
                for rows in in_chunks(file, size, columns):
                    if not rows.schema.equals(expected):
                        break
                    found += rows.num_rows
                    yield rows
                if not file.num_row_groups and columns is None and not file.schema_arrow.equals(expected):
                    found = -1
        except (pa.ArrowException, OSError) as error:
            raise corrupt(self.uri_of(entry), f"it is not a Parquet file ({error})") from error
        if found != entry.rows:
            raise corrupt(self.uri_of(entry), "its columns or rows are not those in the manifest")

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
        columns = ["event_id", "run_uid", "is_current", "committed_at"]
        for entry in manifest.runs if manifest else ():
            for row in self.scan(entry, columns, "run_uid", newer):
                if not row["is_current"]:
                    continue
                order = EventOrder(row["committed_at"], _UNKNOWN, row["event_id"])
                found[row["run_uid"]] = max(order, found.get(row["run_uid"], order))
        ties = {order.event_id: uid for uid, order in found.items() if order.committed_at == newer[uid]}
        for event_id, stamp in self._stamps(manifest, ties.keys()).items():
            found[ties[event_id]] = dataclasses.replace(found[ties[event_id]], stamp=stamp)
        return found

    def _stamps(self, manifest: Manifest | None, event_ids: Collection[str]) -> dict[str, Stamp]:
        found: dict[str, Stamp] = {}
        for entry in manifest.files(REFERENCES) if manifest and event_ids else ():
            for row in self.scan(entry, ["event_id", "writer", "sequence"], "event_id", event_ids):
                found[row["event_id"]] = Stamp(row["writer"], row["sequence"])
        return found

    def reference(self, manifest: Manifest, event_id: str) -> CapabilityRunRef | None:
        """The reference of a folded event.

        Raises:
            CorruptObjectError: A file on the way is damaged.
        """
        for entry in manifest.files(REFERENCES):
            for row in self.scan(entry, ["event_id", "reference"], "event_id", [event_id]):
                return CapabilityRunRef.model_validate_json(row["reference"])
        return None
