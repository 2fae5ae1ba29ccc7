"""Vacuum: removing what nothing refers to any more.

What may go, and why nothing that is needed ever does, wherever a vacuum or a fold is stopped, and for how long:

*Files and index segments.* They are listed first. Then one more manifest is published, and whatever was listed and
is named by none of the manifests that count, those two newest ones among them, is removed. Why this order is safe,
without any clock: a later manifest can name only what the one it is built on names, and what its own fold has written.
It is built on one of the two newest (on the one before the newest where that is damaged). And a fold writes its
files after it has read what it builds on, and publishes at the number after it. So a fold that has written a listed
file, and has not published it, wants a number that is taken by now: it finds that out, drops the files, and starts
again. Were the manifests read before the listing, a fold could publish a file in between, and we would remove it.

*Age.* Nothing goes before it is ``vacuum_age`` old, and a file stays for so long after the last manifest that named it
was superseded, so that a list of files which was given to another tool stays good. It protects readers, not data.
Both times are the server's. Age only grows, so a vacuum that was stopped for days removes nothing too early.

*Old manifests* shrink to stubs, so that their numbers stay taken: only those that were superseded that long ago, and
never one of the newest ten. There is a moment in which such a number is free, between the removal of the manifest and
the put of the stub. A fold that was stopped just before its put, for that long, can take it. Then its manifest lies
far below the newest one, where nobody looks; its events are still in the inbox, or a newer manifest has them.

*Reports* are put before the commit that refers to them, which may come days later, and committed ones are referred to
for ever, by the history of runs. So only those of events that the index has as abandoned go: these can never be
committed any more.

*Staged outputs* are of use until their event is committed, or committed again under another: then they are removed at
once. What was left goes here: of events that the index has as folded, after ``vacuum_age``, and of others, after
``staged_age``, as nobody has come for them.

*Probes* are of no use once their maker has gone on. One that stood still for a day in the middle of its proof would
take the location for one that does not honour put-if-absent, and say so; it would lose nothing. A preflight that
stood still for so long would say that client and worker do not see the same place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkmaite_analytics_store._index import EventIndex, EventState
from checkmaite_analytics_store._layout import (
    INDEX,
    MANIFESTS,
    PROBES,
    REPORTS,
    STAGED,
    TABLES,
    event_of_staged,
    is_fold_file,
    is_probe,
    manifest_key,
    manifest_number,
)
from checkmaite_analytics_store._manifest import Manifest, ManifestReader, encode_stub, is_stub, is_stub_document
from checkmaite_analytics_store._publish import publish_again
from checkmaite_analytics_store._reports import event_of_report
from checkmaite_core.errors import CorruptObjectError, ObjectExistsError, ObjectNotFoundError
from checkmaite_storage import ObjectInfo, ObjectStore

__all__ = ["KEPT_MANIFESTS", "Vacuum", "VacuumReport"]

KEPT_MANIFESTS = 10
"""Newest manifests that are never reduced to stubs."""


@dataclass(frozen=True, slots=True)
class VacuumReport:
    """What a vacuum removed.

    Attributes:
        files: Parquet files of earlier or unfinished folds.
        segments: Index segments of them.
        reports: Reports of events that were settled as not completed.
        probes: Objects by which somebody made sure that the location can hold a store, and can be reached.
        staged: Outputs of runs that were committed since, or that nobody came for.
        manifests: Superseded manifests that were reduced to stubs.
        bytes: Size of all that is gone.
    """

    files: int = 0
    segments: int = 0
    reports: int = 0
    probes: int = 0
    staged: int = 0
    manifests: int = 0
    bytes: int = 0


class Vacuum:
    """Vacuums one store; any number of them may run beside folds, readers and each other.

    Args:
        objects: The store.
        manifests: Reads its manifests.
        age: Seconds for which everything stays that nothing refers to.
        staged_age: Seconds for which outputs stay that are not committed.
    """

    def __init__(self, objects: ObjectStore, manifests: ManifestReader, age: float, staged_age: float) -> None:
        self._objects = objects
        self._manifests = manifests
        self._age = timedelta(seconds=age)
        self._staged_age = timedelta(seconds=staged_age)
        self._bytes = 0
        self._stubs: frozenset[int] = frozenset()

    def vacuum(self) -> VacuumReport:
        """Remove what may go.

        Raises:
            AccessDeniedError: The right to delete is missing. Nothing has changed.
            CorruptObjectError: The newest manifest, or its index, is damaged. Nothing has changed.
            StoreFormatError: A newer version has written one of the manifests. Nothing has changed.
        """
        self._stubs = self._foreign_stubs()
        now = self._now()
        until = now - self._age
        _, index = self._manifests.newest_with_index()
        files, segments = self._unused(until)
        reports = (
            info
            for info in self._objects.list(REPORTS)
            if info.last_modified <= until and index.state(event_of_report(info.key) or "") is EventState.ABANDONED
        )
        probes = (info for info in self._objects.list(PROBES) if info.last_modified <= until and is_probe(info.key))
        return VacuumReport(
            files=self._delete(files),
            segments=self._delete(segments),
            reports=self._delete(reports),
            probes=self._delete(probes),
            staged=self._delete(self._unclaimed(index, until, now - self._staged_age)),
            manifests=self._shrink(until),
            bytes=self._bytes,
        )

    def _unclaimed(self, index: EventIndex, committed_until: datetime, until: datetime) -> Iterator[ObjectInfo]:
        """The staged outputs that may go."""
        for info in self._objects.list(STAGED):
            event = event_of_staged(info.key)
            if event is None:
                continue
            folded = index.state(event) is EventState.FOLDED
            if info.last_modified <= (max(until, committed_until) if folded else until):
                yield info

    def _foreign_stubs(self) -> frozenset[int]:
        """Numbers whose stubs another version has written; they are left as they are.

        Raises:
            StoreFormatError: A newer version has written a manifest: what it names is not known here.
        """
        found = set()
        for number, info in self._list_manifests():
            if is_stub(info):
                continue
            uri = self._objects.address(info.key)
            with contextlib.suppress(CorruptObjectError, ObjectNotFoundError):
                data = self._objects.get(info.key)
                if is_stub_document(data, uri):
                    found.add(number)
                else:
                    Manifest.decode(data, number, uri)
        return frozenset(found)

    def _now(self) -> datetime:
        """The server's time, found in a way that needs the right to delete."""
        probe = self._objects.probe()
        self._objects.delete(probe.key)
        return probe.last_modified

    def _unused(self, until: datetime) -> tuple[list[ObjectInfo], list[ObjectInfo]]:
        """The files and the index segments that may go."""
        listed = [
            info
            for prefix in (TABLES, INDEX)
            for info in self._objects.list(prefix)
            if info.last_modified <= until and is_fold_file(info.key)
        ]
        unused = self._unnamed(listed, until)
        if unused:
            publish_again(self._objects, self._manifests)  # from here on no fold can publish what it had written before
            unused = self._unnamed(listed, until)
        files = [info for info in unused if info.key.startswith(TABLES)]
        return files, [info for info in unused if info.key.startswith(INDEX)]

    def _unnamed(self, listed: Sequence[ObjectInfo], until: datetime) -> list[ObjectInfo]:
        """Those that no manifest names which counts: the two newest, and all that were the newest since ``until``."""
        if not listed:
            return []
        manifests = self._list_manifests()
        named: set[str] = set()
        for place, (number, info) in enumerate(manifests):
            counts = place >= len(manifests) - 2 or manifests[place + 1][1].last_modified > until
            if not counts or is_stub(info):
                continue
            try:
                named |= self._manifests.read(number).names()
            except CorruptObjectError:
                if self._manifests.newest_number() == number:
                    raise
                # Nobody can use what only this one names, nor build on it.
        return [info for info in listed if info.key not in named]

    def _list_manifests(self) -> list[tuple[int, ObjectInfo]]:
        listed = ((manifest_number(info.key), info) for info in self._objects.list(MANIFESTS))
        return sorted((number, info) for number, info in listed if number is not None)

    def _delete(self, garbage: Iterable[ObjectInfo]) -> int:
        count = 0
        for info in garbage:
            self._objects.delete(info.key)
            self._bytes += info.size
            count += 1
        return count

    def _shrink(self, until: datetime) -> int:
        """Reduce manifests to stubs, the oldest first, and fill the gap that a vacuum left which was killed."""
        manifests = self._list_manifests()
        shrunk = 0
        expected = 1
        for place, (number, info) in enumerate(manifests[:-KEPT_MANIFESTS]):
            for gap in range(expected, number):
                self._put_stub(gap)
            expected = number + 1
            if not is_stub(info) and number not in self._stubs and manifests[place + 1][1].last_modified <= until:
                self._objects.delete(info.key)
                self._put_stub(number)
                self._bytes += info.size - len(encode_stub(number))
                shrunk += 1
        return shrunk

    def _put_stub(self, number: int) -> None:
        with contextlib.suppress(ObjectExistsError):  # another vacuum's, or a late fold's, which does no harm
            self._objects.put_if_absent(manifest_key(number), encode_stub(number))
