"""Checking every byte of a store, one object in memory at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from checkmaite_analytics_store._bundle import StoredRun
from checkmaite_analytics_store._findings import Advice, Finding, VerifyReport
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._format import StoreFormat
from checkmaite_analytics_store._inbox import Inbox, why
from checkmaite_analytics_store._index import EventIndex
from checkmaite_analytics_store._layout import (
    FORMAT_KEY,
    INBOX,
    INDEX,
    MANIFESTS,
    PROBES,
    REPORTS,
    SCHEMAS,
    STAGED,
    TABLES,
    column_of_key,
    event_of_key,
    event_of_staged,
    is_fold_file,
    is_probe,
    manifest_key,
    manifest_number,
)
from checkmaite_analytics_store._manifest import FileEntry, Manifest, ManifestReader, QuarantineEntry, is_stub_document
from checkmaite_analytics_store._reports import check_report, event_of_report
from checkmaite_analytics_store._rows import payload_tables
from checkmaite_analytics_store._schemas import SchemaRegistry
from checkmaite_analytics_store._staging import check_staged
from checkmaite_core.errors import CorruptObjectError, ObjectNotFoundError, StoreFormatError
from checkmaite_storage import ObjectInfo, ObjectStore

__all__ = ["Verifier"]

_WITHOUT_GAPS = 10
"""Newest manifests of which no vacuum touches one, not even for a moment."""


class Verifier:
    """Checks one store once, with nothing remembered from earlier reading."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._schemas = SchemaRegistry(objects)
        self._manifests = ManifestReader(objects)
        self._inbox = Inbox(objects, self._manifests, self._schemas)
        self._reader = FoldedReader(objects)
        self._checked = 0
        self._findings: list[Finding] = []
        self._foreign: list[str] = []

    def verify(self) -> VerifyReport:
        """Check size, checksum and content of everything that the store consists of."""
        with self._object(FORMAT_KEY, Advice.FORMAT):
            StoreFormat(self._objects).exists()
        for info in self._own(SCHEMAS, lambda key: column_of_key(key) is not None):
            with self._object(info.key):
                table, column = column_of_key(info.key) or ("", "")
                self._schemas.type_of(table, column)
        self._check_manifests()
        manifest = self._check_folded()
        index = self._index(manifest)
        self._inbox.trust(manifest)
        aside = {entry.key: entry for entry in manifest.quarantined} if manifest else {}
        for info in self._own(INBOX, lambda key: event_of_key(key) is not None):
            self._check_event(info, index, aside.get(info.key))
        for info in self._own(REPORTS, lambda key: event_of_report(key) is not None):
            with self._object(info.key, Advice.REPORT):
                check_report(info.key, self._objects.get(info.key))
        for info in self._own(STAGED, lambda key: event_of_staged(key) is not None):
            with self._object(info.key, Advice.STAGED):
                check_staged(info.key, self._objects.get(info.key))
        unused = self._count_unused(manifest)
        findings = sorted(self._findings, key=lambda finding: finding.key)
        return VerifyReport(self._checked, tuple(findings), tuple(sorted(self._foreign)), unused)

    @contextlib.contextmanager
    def _object(self, key: str, advice: str | None = None) -> Iterator[None]:
        """Turn damage to one object into a finding; what keeps us from looking at all is raised.

        Args:
            key: The object.
            advice: What to do if it is damaged; None for what the error says.
        """
        self._checked += 1
        try:
            yield
        except CorruptObjectError as error:
            self._find(key, why(error), advice or error.hint)
        except StoreFormatError as error:
            self._find(key, error.message, error.hint)
        except ObjectNotFoundError:
            self._checked -= 1  # folded and removed while we looked

    def _find(self, key: str, problem: str, advice: str) -> None:
        self._findings.append(Finding(key, problem, advice))

    def _own(self, prefix: str, is_own: Callable[[str], bool]) -> Iterator[ObjectInfo]:
        """The objects that the store wrote; the others are noted as foreign."""
        for info in self._objects.list(prefix):
            if is_own(info.key):
                yield info
            else:
                self._foreign.append(info.key)

    def _check_manifests(self) -> None:
        listed = {
            manifest_number(info.key) or 0 for info in self._own(MANIFESTS, lambda key: bool(manifest_number(key)))
        }
        newest = max(listed, default=0)
        for number in sorted(listed):
            key = manifest_key(number)
            with self._object(key, Advice.NEWEST_MANIFEST if number == newest else Advice.OLD_MANIFEST):
                data = self._objects.get(key)
                uri = f"{self._objects.uri}/{key}"
                if number == newest or not is_stub_document(data, uri):
                    Manifest.decode(data, number, uri)
        for number in sorted(set(range(max(1, newest - _WITHOUT_GAPS + 1), newest)) - listed):
            self._find(manifest_key(number), "it is gone", Advice.OLD_MANIFEST)

    def _check_folded(self) -> Manifest | None:
        """Check what the newest manifest names."""
        try:
            manifest = self._manifests.newest()
        except (CorruptObjectError, StoreFormatError):
            return None  # it is among the findings
        if manifest is None:
            return None
        before, self._findings = self._findings, []
        for segment in manifest.segments:
            with self._object(segment.key, Advice.SEGMENT):
                self._manifests.segments.read(segment)
        for entries in manifest.tables.values():
            for entry in entries:
                with self._object(entry.key, Advice.RESULT):
                    self._read(entry)
        for quarantined in manifest.quarantined:
            self._check_aside(quarantined)
        self._findings = [*before, *self._still_named(manifest, self._findings)]
        return manifest

    def _still_named(self, manifest: Manifest, findings: list[Finding]) -> list[Finding]:
        """What no newer manifest names may be gone by right, if there is one by now."""
        if not findings or not self._inbox.moved_since(manifest):
            return findings
        newer = self._manifests.newest()
        return [finding for finding in findings if newer is None or finding.key in newer.names()]

    def _check_aside(self, entry: QuarantineEntry) -> None:
        """A file that was set aside; an inbox object is read with the others."""
        if entry.key.startswith(INBOX):
            return
        self._checked += 1
        try:
            if entry.file is not None:
                self._read(entry.file)
        except CorruptObjectError as error:
            self._find(entry.key, f"set aside by a fold: {why(error)}", Advice.ASIDE)
        else:
            self._find(entry.key, f"set aside by a fold, but whole again: {entry.reason}", Advice.WHOLE_AGAIN)

    def _read(self, entry: FileEntry) -> None:
        for _ in self._reader.chunks(entry):
            pass

    def _index(self, manifest: Manifest | None) -> EventIndex:
        try:
            return self._manifests.index(manifest)
        except (CorruptObjectError, StoreFormatError):
            return EventIndex()  # it is among the findings

    def _check_event(self, info: ObjectInfo, index: EventIndex, aside: QuarantineEntry | None) -> None:
        stale = event_of_key(info.key) in index
        advice = Advice.STALE if stale else Advice.ASIDE if aside else Advice.RESULT
        with self._object(info.key, advice):
            event = self._inbox.load(info, remember=False)
            if isinstance(event.content, StoredRun):
                payload_tables([event], self._inbox.uri_of)
            if aside and not stale:
                self._find(info.key, f"set aside by a fold, but whole again: {aside.reason}", Advice.WHOLE_AGAIN)

    def _count_unused(self, manifest: Manifest | None) -> int:
        used = manifest.names() if manifest else frozenset()
        unused = sum(1 for _ in self._own(PROBES, is_probe))
        for prefix in (TABLES, INDEX):
            unused += sum(info.key not in used for info in self._own(prefix, is_fold_file))
        return unused
