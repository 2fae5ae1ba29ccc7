"""Folding: moving events from the inbox into Parquet files, published by one put of a manifest.

Any number of folds may race. Each reads the inbox and the newest manifest, writes files of its own, and puts a
manifest at the next number; whoever is second finds it taken and starts again from there. A crash before that
put leaves files that no manifest names, and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from checkmaite_analytics_store._bundle import Abandoned
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._inbox import Inbox, TailEvent, TailListing, why
from checkmaite_analytics_store._index import EventState, SegmentEntry, encode_segment, mergeable
from checkmaite_analytics_store._layout import (
    REFERENCES,
    RUNS,
    TABLES,
    inbox_key,
    index_key,
    manifest_key,
    table_key,
)
from checkmaite_analytics_store._manifest import FileEntry, Manifest, ManifestReader, QuarantineEntry
from checkmaite_analytics_store._reclaim import reclaim
from checkmaite_analytics_store._rows import only_current, payload_tables, reference_rows, run_rows, weigh, without_runs
from checkmaite_analytics_store._settings import StoreSettings
from checkmaite_analytics_store._types import SCALARS
from checkmaite_core.errors import CorruptObjectError, ObjectExistsError, ObjectNotFoundError, StoreError
from checkmaite_storage import ObjectStore

__all__ = ["FoldReport", "Folder"]


@dataclass(frozen=True, slots=True)
class FoldReport:
    """What a fold did.

    Attributes:
        manifest: Number of the newest manifest afterwards; 0 if there is none.
        folded: Committed events that this fold moved into Parquet files.
        abandoned: Markers that it moved into the index.
        deleted: Inbox objects that it removed, their events having been listed for longer than the grace period.
        quarantined: Keys of the objects that cannot be read and that queries leave out from now on.
    """

    manifest: int
    folded: int
    abandoned: int
    deleted: int
    quarantined: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    """One manifest's worth of work that could be published, or was not needed."""

    published: bool
    lost: bool
    folded: int = 0
    abandoned: int = 0


class Folder:
    """Folds one store; :meth:`fold` may be called by any number of processes and threads at once."""

    def __init__(
        self,
        objects: ObjectStore,
        inbox: Inbox,
        manifests: ManifestReader,
        reader: FoldedReader,
        settings: StoreSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects = objects
        self._inbox = inbox
        self._manifests = manifests
        self._reader = reader
        self._settings = settings
        self._clock = clock

    def fold(self) -> FoldReport:
        """Fold everything that the inbox holds now, then remove what has been folded for long enough.

        Raises:
            StoreError: It took longer than the limit, so it was not published; nothing is lost.
        """
        folded = abandoned = 0
        while True:
            started = self._clock()
            listing = self._inbox.list_tail()
            step = self._step(listing, started)
            folded += step.folded
            abandoned += step.abandoned
            if not step.lost and not (step.published and len(listing.tail) > self._settings.fold_batch):
                break
        deleted = reclaim(self._objects, self._manifests, listing.stale, self._settings.grace)
        newest = self._manifests.newest()
        return FoldReport(
            manifest=newest.number if newest else 0,
            folded=folded,
            abandoned=abandoned,
            deleted=deleted,
            quarantined=tuple(entry.key for entry in newest.quarantined) if newest else (),
        )

    def _step(self, listing: TailListing, started: float) -> _Step:
        writer = secrets.token_hex(16)
        before = listing.manifest
        number = before.number + 1 if before else 1
        fold = f"{number:010d}-{writer}"
        tables, damaged = self._sound_files(before)
        events, rows, unreadable = self._load(listing)
        quarantined = tuple(sorted([*damaged, *unreadable], key=lambda entry: entry.key))
        if not events and quarantined == (before.quarantined if before else ()):
            return _Step(published=False, lost=False)

        sound = before.model_copy(update={"tables": tables, "quarantined": quarantined}) if before else None
        currency = weigh(events, sound, self._reader)
        writer_of_files = _FileWriter(self._objects, fold)
        for table in list(tables):
            tables[table] = self._without_superseded(table, tables[table], currency.superseded, writer_of_files)
        rows = {name: only_current(part, currency.current) for name, part in rows.items()}
        rows |= {RUNS: run_rows(events, currency), REFERENCES: reference_rows(events)}
        for table, part in rows.items():
            # Without rows, a file is only needed to say which columns a new table has.
            if part.num_rows or table not in tables:
                tables[table] = (*tables.get(table, ()), writer_of_files.write(table, part))
        segments = self._add_segment(before, events, fold)
        manifest = Manifest(number=number, writer=writer, tables=tables, segments=segments, quarantined=quarantined)
        if self._clock() - started > self._settings.fold_limit:
            raise StoreError(
                f"folding {len(events)} events of {self._objects.uri} took longer than "
                f"{self._settings.fold_limit:.0f} seconds, so it was not published; nothing is lost or changed.",
                hint="Fold again, on a machine with a faster connection to the store, or with a smaller fold_batch.",
            )
        if not self._publish(manifest):
            return _Step(published=False, lost=True)
        markers = sum(isinstance(event.content, Abandoned) for event in events)
        return _Step(published=True, lost=False, folded=len(events) - markers, abandoned=markers)

    def _publish(self, manifest: Manifest) -> bool:
        """Put the manifest; False if another fold took its number."""
        try:
            self._objects.put_if_absent(manifest_key(manifest.number), manifest.encode())
        except ObjectExistsError:
            # A connector may have retried a put whose answer got lost: then what is there is ours.
            return self._manifests.read(manifest.number).writer == manifest.writer
        return True

    def _sound_files(self, manifest: Manifest | None) -> tuple[dict[str, tuple[FileEntry, ...]], list[QuarantineEntry]]:
        """The files that can be read, and those that cannot, now or since an earlier fold."""
        tables: dict[str, tuple[FileEntry, ...]] = {}
        damaged = []
        for table, entries in manifest.tables.items() if manifest else ():
            sound = []
            for entry in entries:
                try:
                    self._reader.check(entry)
                    sound.append(entry)
                except CorruptObjectError as error:
                    damaged.append(QuarantineEntry(key=entry.key, reason=why(error)))
            tables[table] = tuple(sound)
        damaged += [entry for entry in (manifest.quarantined if manifest else ()) if entry.key.startswith(TABLES)]
        return tables, damaged

    def _load(self, listing: TailListing) -> tuple[list[TailEvent], dict[str, pa.Table], list[QuarantineEntry]]:
        """Read a batch of the tail. What was quarantined before is tried again: it may have been restored."""
        known = {entry.key: entry for entry in listing.manifest.quarantined} if listing.manifest else {}
        ordered = sorted(listing.tail, key=lambda info: (info.key in known, info.key))
        batch, rest = ordered[: self._settings.fold_batch], ordered[self._settings.fold_batch :]
        unreadable = [known[info.key] for info in rest if info.key in known]
        events = []
        for info in batch:
            try:
                events.append(self._inbox.load(info))
            except CorruptObjectError as error:
                unreadable.append(QuarantineEntry(key=info.key, reason=why(error)))
            except ObjectNotFoundError:
                continue  # another fold was faster, and the number of our manifest is taken
        try:
            return events, payload_tables(events, self._inbox.uri_of), unreadable
        except CorruptObjectError:
            sound = []
        for event in events:
            try:
                payload_tables([event], self._inbox.uri_of)
                sound.append(event)
            except CorruptObjectError as error:
                unreadable.append(QuarantineEntry(key=inbox_key(event.event_id), reason=why(error)))
        return sound, payload_tables(sound, self._inbox.uri_of), unreadable

    def _without_superseded(
        self, table: str, entries: Sequence[FileEntry], run_uids: frozenset[str], writer: _FileWriter
    ) -> tuple[FileEntry, ...]:
        """The files of a table without the payload of superseded events; only files that have some are rewritten."""
        if not run_uids or table == REFERENCES:
            return tuple(entries)
        wanted = pa.array(sorted(run_uids), type=pa.string())
        kept = []
        for entry in entries:
            if not pc.any(pc.is_in(self._reader.read(entry, ["run_uid"])["run_uid"], value_set=wanted)).as_py():
                kept.append(entry)
                continue
            rows = self._reader.read(entry)
            if table == RUNS:
                position = rows.column_names.index("is_current")
                outdated = pc.is_in(rows["run_uid"], value_set=wanted)
                flags = pc.and_(rows["is_current"], pc.invert(outdated))
                rows = rows.set_column(position, rows.schema.field(position), flags)
            else:
                rows = without_runs(rows, run_uids)
            kept.append(writer.write(table, rows))
        return tuple(kept)

    def _add_segment(
        self, manifest: Manifest | None, events: Sequence[TailEvent], fold: str
    ) -> tuple[SegmentEntry, ...]:
        """Index the events, in one new segment with the last ones of about its size."""
        before = manifest.segments if manifest else ()
        if not events:
            return before
        count = mergeable(before, len(events))
        kept, merged = before[: len(before) - count], before[len(before) - count :]
        states = {
            event.event_id: EventState.ABANDONED if isinstance(event.content, Abandoned) else EventState.FOLDED
            for event in events
        }
        for segment in merged:
            states.update(self._manifests.segments.read(segment))
        data = encode_segment(states)
        key = index_key(fold)
        self._objects.put_if_absent(key, data)
        entry = SegmentEntry(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest(), count=len(states))
        return (*kept, entry)


class _FileWriter:
    """Writes the Parquet files of one fold, each under a name that no other fold has."""

    def __init__(self, objects: ObjectStore, fold: str) -> None:
        self._objects = objects
        self._fold = fold
        self._count = 0

    def write(self, table: str, rows: pa.Table) -> FileEntry:
        """Write rows as one file, sorted so that a run's rows lie together."""
        order = "event_id" if table in (RUNS, REFERENCES) else "run_uid"
        buffer = io.BytesIO()
        pq.write_table(rows.sort_by(order), buffer, compression="zstd", write_page_checksum=True)
        data = buffer.getvalue()
        key = table_key(table, f"{self._fold}-{self._count}")
        self._count += 1
        self._objects.put_if_absent(key, data)
        return FileEntry(
            key=key,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            rows=rows.num_rows,
            columns=tuple((field.name, SCALARS[field.type]) for field in rows.schema),
        )
