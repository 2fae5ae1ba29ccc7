"""Folding: moving events from the inbox into Parquet files, published by one put of a manifest.

Any number of folds may race. Each reads the inbox and the newest manifest, writes files of its own, and puts a
manifest at the next number; whoever is second finds it taken and starts again from there. A crash before that
put leaves files that no manifest names, and nothing else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from checkmaite_analytics_store._batch import first_batch
from checkmaite_analytics_store._bundle import Abandoned
from checkmaite_analytics_store._file_writer import FileWriter
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._inbox import Inbox, TailEvent, TailListing, why
from checkmaite_analytics_store._index import EventState
from checkmaite_analytics_store._layout import REFERENCES, RUNS, TABLES, inbox_key
from checkmaite_analytics_store._manifest import FileEntry, Manifest, ManifestReader, QuarantineEntry
from checkmaite_analytics_store._publish import publish, publish_again
from checkmaite_analytics_store._reclaim import reclaim
from checkmaite_analytics_store._repair import Repairer
from checkmaite_analytics_store._restore import Restorer
from checkmaite_analytics_store._rewrite import TableRewriter
from checkmaite_analytics_store._rows import only_current, payload_tables, reference_rows, run_rows, weigh
from checkmaite_analytics_store._segments import SegmentWriter
from checkmaite_analytics_store._settings import StoreSettings
from checkmaite_core.errors import CorruptObjectError, StoreError
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
        repaired: Keys of damaged manifests and index segments in whose place sound ones have been published.
    """

    manifest: int
    folded: int
    abandoned: int
    deleted: int
    quarantined: tuple[str, ...]
    repaired: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Step:
    """One manifest's worth of work that could be published, or was not needed."""

    lost: bool
    more: bool = False
    folded: int = 0
    abandoned: int = 0


@dataclass(frozen=True, slots=True)
class _Batch:
    """The part of the inbox that one manifest takes.

    Attributes:
        events: Those that could be read.
        rows: Their payload by table.
        unreadable: Those that could not, and those that are known for it.
        more: Whether some are left.
        gone: Whether another fold has removed some since they were listed.
    """

    events: list[TailEvent]
    rows: dict[str, pa.Table]
    unreadable: list[QuarantineEntry]
    more: bool
    gone: bool


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
        self._segments = SegmentWriter(objects, manifests.segments)
        self._repairer = Repairer(objects, inbox, manifests, self._segments, reader)
        self._reader = reader
        self._settings = settings
        self._clock = clock

    def fold(self, *, thorough: bool = True) -> FoldReport:
        """Fold everything that the inbox holds now, then remove what has been folded for long enough.

        Args:
            thorough: Read every folded file once and compare it with its checksum, and take those back that were set
                aside and are whole again. Otherwise a listing tells only which are gone or have another size, and
                those are read that are merged or rewritten.

        Raises:
            StoreError: It took longer than the limit, so it was not published; nothing is lost.
        """
        folded = abandoned = 0
        repaired: tuple[str, ...] = ()
        while True:
            started = self._clock()
            try:
                listing = self._inbox.list_tail()
                if thorough:
                    self._manifests.index(listing.manifest)  # also where nothing in the inbox asks for it
            except CorruptObjectError:
                repaired += self._repair()
                continue
            step = self._step(listing, started, thorough=thorough)
            thorough = False  # once is enough
            folded += step.folded
            abandoned += step.abandoned
            if not step.lost and not step.more:
                break
        deleted = self._reclaim(listing)
        newest = self._manifests.newest()
        return FoldReport(
            manifest=newest.number if newest else 0,
            folded=folded,
            abandoned=abandoned,
            deleted=deleted,
            quarantined=tuple(entry.key for entry in newest.quarantined) if newest else (),
            repaired=repaired,
        )

    def _repair(self) -> tuple[str, ...]:
        """Publish a sound manifest in place of damage, which is raised again if it is no damage that we can mend."""
        manifest, damaged = self._repairer.replacement()
        if manifest is None:
            self._inbox.list_tail()  # another fold may have mended it meanwhile
            return ()
        return damaged if publish(self._objects, self._manifests, manifest) else ()

    def _reclaim(self, listing: TailListing) -> int:
        done = reclaim(self._objects, self._manifests, listing.stale, self._settings.grace)
        if not done.unwitnessed:
            return done.deleted
        publish_again(self._objects, self._manifests)  # nothing is new, and a second witness is what is waited for
        return done.deleted + reclaim(self._objects, self._manifests, listing.stale, self._settings.grace).deleted

    def _step(self, listing: TailListing, started: float, *, thorough: bool) -> _Step:
        batch = self._load(listing)
        try:
            manifest = self._prepare(listing.manifest, batch, thorough=thorough)
        except CorruptObjectError:
            # A file that was to be merged has changed its bytes and not its size: see which ones have.
            manifest = self._prepare(listing.manifest, batch, thorough=True)
        if manifest is None:
            return _Step(lost=batch.gone)
        if self._clock() - started > self._settings.fold_limit:
            raise StoreError(
                f"folding {len(batch.events)} events of {self._objects.uri} took longer than "
                f"{self._settings.fold_limit:.0f} seconds, so it was not published; nothing is lost or changed.",
                hint="Fold again, on a machine with a faster connection to the store, or with smaller settings "
                "fold_batch, fold_bytes and merge_bytes.",
            )
        if not publish(self._objects, self._manifests, manifest):
            return _Step(lost=True)
        markers = sum(isinstance(event.content, Abandoned) for event in batch.events)
        return _Step(
            lost=False,
            more=batch.more,
            folded=len(batch.events) - markers,
            abandoned=markers,
        )

    def _prepare(self, before: Manifest | None, batch: _Batch, *, thorough: bool) -> Manifest | None:
        """Write the files of the next manifest; None if it would say the same as the one before."""
        writer = secrets.token_hex(16)
        number = before.number + 1 if before else 1
        fold = f"{number:010d}-{writer}"
        events = batch.events
        writes = FileWriter(self._objects, fold)
        tables, damaged = self._sound_files(before, thorough=thorough)
        if thorough:
            tables, damaged = Restorer(self._reader, writes).restore(tables, damaged)
        quarantined = tuple(sorted([*damaged, *batch.unreadable], key=lambda entry: entry.key))
        if not events and quarantined == (before.quarantined if before else ()):
            return None
        sound = before.model_copy(update={"tables": tables, "quarantined": quarantined}) if before else None
        currency = weigh(events, sound, self._reader)
        rewriter = TableRewriter(self._reader, writes, self._settings, currency.superseded)
        rows = {name: only_current(part, currency.current) for name, part in batch.rows.items()}
        if events:
            rows |= {RUNS: run_rows(events, currency), REFERENCES: reference_rows(events)}
        for table in sorted({*tables, *rows}):
            tables[table] = rewriter.rewrite(table, tables.get(table, ()), rows.get(table))
        states = {event.event_id: _state(event) for event in events}
        segments = self._segments.add(before.segments if before else (), states, fold)
        after = Manifest(number=number, writer=writer, tables=tables, segments=segments, quarantined=quarantined)
        # A copy of the one before, so that what a newer version has added to it stays.
        return (
            before.model_copy(update={name: getattr(after, name) for name in Manifest.model_fields})
            if before
            else after
        )

    def _sound_files(
        self, manifest: Manifest | None, *, thorough: bool
    ) -> tuple[dict[str, tuple[FileEntry, ...]], list[QuarantineEntry]]:
        """The files that can be read, and those that cannot, now or since an earlier fold."""
        if manifest is None:
            return {}, []
        sizes = {} if thorough else {info.key: info.size for info in self._objects.list(TABLES)}
        tables: dict[str, tuple[FileEntry, ...]] = {}
        damaged = [entry for entry in manifest.quarantined if entry.key.startswith(TABLES)]
        for table, entries in manifest.tables.items():
            sound = []
            for entry in entries:
                try:
                    if sizes.get(entry.key) != entry.size:
                        self._reader.recheck(entry)
                    sound.append(entry)
                except CorruptObjectError as error:
                    damaged.append(QuarantineEntry(key=entry.key, reason=why(error), file=entry))
            tables[table] = tuple(sound)
        return tables, damaged

    def _load(self, listing: TailListing) -> _Batch:
        """Read a batch of the tail. What was quarantined before is tried again: it may have been restored."""
        known = {entry.key: entry for entry in listing.manifest.quarantined} if listing.manifest else {}
        batch, rest = first_batch(
            listing.tail, known.keys(), events=self._settings.fold_batch, size=self._settings.fold_bytes
        )
        unreadable = [known[info.key] for info in rest if info.key in known]
        events = []
        gone = False
        for info, found in zip(batch, self._inbox.load_what_can_be(batch), strict=True):
            if isinstance(found, CorruptObjectError):
                unreadable.append(_set_aside(known.get(info.key), info.key, why(found)))
            elif found is None:
                gone = True  # another fold was faster, and the number of our manifest is taken
            else:
                events.append(found)
        try:
            return _Batch(events, payload_tables(events, self._inbox.uri_of), unreadable, bool(rest), gone)
        except CorruptObjectError:
            sound = []
        for event in events:
            try:
                payload_tables([event], self._inbox.uri_of)
                sound.append(event)
            except CorruptObjectError as error:
                key = inbox_key(event.event_id)
                unreadable.append(_set_aside(known.get(key), key, why(error)))
        return _Batch(sound, payload_tables(sound, self._inbox.uri_of), unreadable, bool(rest), gone)


def _set_aside(before: QuarantineEntry | None, key: str, reason: str) -> QuarantineEntry:
    """The entry of an object that cannot be read, with what a newer version has added to its entry before."""
    return before.model_copy(update={"reason": reason}) if before else QuarantineEntry(key=key, reason=reason)


def _state(event: TailEvent) -> EventState:
    return EventState.ABANDONED if isinstance(event.content, Abandoned) else EventState.FOLDED
