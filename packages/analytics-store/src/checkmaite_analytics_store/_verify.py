"""Checking every byte of a store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from checkmaite_analytics_store._bundle import StoredRun
from checkmaite_analytics_store._folded import FoldedReader
from checkmaite_analytics_store._format import StoreFormat
from checkmaite_analytics_store._inbox import Inbox, why
from checkmaite_analytics_store._layout import (
    FORMAT_KEY,
    INBOX,
    MANIFESTS,
    REPORTS,
    SCHEMAS,
    column_of_key,
    event_of_key,
    manifest_number,
)
from checkmaite_analytics_store._manifest import Manifest, ManifestReader, encode_stub, is_stub
from checkmaite_analytics_store._reports import check_report
from checkmaite_analytics_store._rows import payload_tables
from checkmaite_analytics_store._schemas import SchemaRegistry
from checkmaite_analytics_store._sealed import corrupt
from checkmaite_core.errors import CorruptObjectError, ObjectNotFoundError, StoreFormatError
from checkmaite_storage import ObjectInfo, ObjectStore

__all__ = ["Finding", "Verifier", "VerifyReport"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One damaged object.

    Attributes:
        key: Where it lies.
        problem: What is wrong with it.
    """

    key: str
    problem: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a check of the whole store found.

    Attributes:
        objects: Number of objects that were read and compared.
        findings: Those that are damaged, sorted by key.
    """

    objects: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.findings


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

    def verify(self) -> VerifyReport:
        """Check size, checksum and content of everything that the store consists of."""
        with self._object(FORMAT_KEY):
            StoreFormat(self._objects).exists()
        for info in self._objects.list(SCHEMAS):
            with self._object(info.key):
                place = column_of_key(info.key)
                if place is None:
                    raise corrupt(info.key, "its key is not one of a column")
                self._schemas.type_of(*place)
        manifest = self._newest_manifest()
        if manifest is not None:
            self._folded(manifest)
        for info in self._objects.list(INBOX):
            with self._object(info.key):
                self._event(info)
        for info in self._objects.list(REPORTS):
            with self._object(info.key):
                check_report(info.key, self._objects.get(info.key))
        return VerifyReport(self._checked, tuple(sorted(self._findings, key=lambda finding: finding.key)))

    @contextlib.contextmanager
    def _object(self, key: str) -> Iterator[None]:
        """Turn damage to one object into a finding; what keeps us from looking at all is raised."""
        self._checked += 1
        try:
            yield
        except CorruptObjectError as error:
            self._findings.append(Finding(key, why(error)))
        except StoreFormatError as error:
            self._findings.append(Finding(key, error.message))
        except ObjectNotFoundError:
            self._checked -= 1  # folded and removed while we looked

    def _newest_manifest(self) -> Manifest | None:
        newest = None
        for info in self._objects.list(MANIFESTS):
            with self._object(info.key):
                number = manifest_number(info.key)
                if number is None:
                    raise corrupt(info.key, "its key is not one of a manifest")
                if is_stub(info) and self._objects.get(info.key) == encode_stub(number):
                    continue
                newest = None  # not an older one in place of a damaged one
                newest = self._manifests.read(number)
        return newest

    def _folded(self, manifest: Manifest) -> None:
        for segment in manifest.segments:
            with self._object(segment.key):
                self._manifests.segments.read(segment)
        for entries in manifest.tables.values():
            for entry in entries:
                with self._object(entry.key):
                    self._reader.read(entry)
        for quarantined in manifest.quarantined:
            if not quarantined.key.startswith(INBOX):  # those are read below
                self._findings.append(Finding(quarantined.key, f"quarantined: {quarantined.reason}"))

    def _event(self, info: ObjectInfo) -> None:
        if event_of_key(info.key) is None:
            raise corrupt(info.key, "its key is not one of an event")
        event = self._inbox.load(info)
        if isinstance(event.content, StoredRun):
            payload_tables([event], self._inbox.uri_of)
