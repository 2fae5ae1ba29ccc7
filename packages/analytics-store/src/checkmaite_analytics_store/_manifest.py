"""Manifests: what has been folded, and the index of all events that have left the inbox.

A manifest that has long been superseded is reduced to a stub: a few bytes that keep its number taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator

from checkmaite_analytics_store._index import EventIndex, SegmentEntry, SegmentReader
from checkmaite_analytics_store._layout import (
    FORMAT_VERSION,
    INBOX,
    MANIFESTS,
    RUNS,
    TABLES,
    manifest_key,
    manifest_number,
)
from checkmaite_analytics_store._sealed import check_format, corrupt, invalid, kind_of, seal, unseal
from checkmaite_core.errors import CorruptObjectError, ObjectNotFoundError, StorageError, StoreFormatError
from checkmaite_core.evolving import Evolving
from checkmaite_core.record import ScalarType
from checkmaite_storage import ObjectInfo, ObjectStore, check_key

__all__ = ["FileEntry", "Manifest", "ManifestReader", "QuarantineEntry", "encode_stub", "is_stub", "is_stub_document"]

AnswerT = TypeVar("AnswerT")

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Size = Annotated[int, Field(ge=0)]


def _file_key(key: str) -> str:
    if not key.startswith((TABLES, INBOX)):
        raise ValueError("the key is not one of a table's file or of an inbox object")
    try:
        return check_key(key)
    except StorageError as error:
        raise ValueError(error.message) from error


_Key = Annotated[str, AfterValidator(_file_key)]


class FileEntry(Evolving):
    """One Parquet file of folded rows.

    Attributes:
        key: Where it lies.
        size: Bytes.
        sha256: Digest in hex.
        rows: Number of rows.
        columns: Name and type of each column, in order.
    """

    key: _Key
    size: _Size
    sha256: _Digest
    rows: _Size
    columns: tuple[tuple[str, ScalarType], ...]


class QuarantineEntry(Evolving):
    """An object that cannot be read, left where it lies and left out of answers.

    Attributes:
        key: Where it lies.
        reason: Why it cannot be read.
        file: What it was when it could be, so that it can be checked and listed again; None for an inbox object,
            which tells that itself.
    """

    key: _Key
    reason: str
    file: FileEntry | None = None

    @property
    def table(self) -> str | None:
        """The table whose file it is; None for an inbox object."""
        return self.key.split("/")[1] if self.key.startswith(TABLES) else None

    @model_validator(mode="after")
    def _one_key(self) -> QuarantineEntry:
        if self.file is not None and (self.file.key != self.key or self.table is None):
            raise ValueError(f"it is set aside as the file {self.file.key}")
        return self


class Manifest(Evolving):
    """The folded part of the store at one moment. What a newer version has added is kept, and passed on to the next.

    Attributes:
        number: Its place in the sequence of manifests; never used twice.
        writer: Random id of the fold that wrote it.
        tables: The files of each table.
        segments: The index of all folded and abandoned events.
        quarantined: Objects that could not be read when it was written.
    """

    number: Annotated[int, Field(ge=1)]
    writer: str
    tables: dict[str, tuple[FileEntry, ...]]
    segments: tuple[SegmentEntry, ...]
    quarantined: tuple[QuarantineEntry, ...] = ()

    def encode(self) -> bytes:
        """The manifest's bytes.

        Raises:
            StoreFormatError: It is none that could be read again.
        """
        data = seal("manifest", {"format": FORMAT_VERSION, **self.model_dump(mode="json")})
        # Copies with changes are not validated, and what cannot be read again must never become the newest manifest.
        if Manifest.decode(data, self.number, "the manifest to be published") != self:
            raise StoreFormatError(
                f"manifest {self.number} could not be read back as it is, so it was not published.",
                hint="Nothing is lost or changed. This is a defect of checkmaite-analytics-store: please report it.",
            )
        return data

    @classmethod
    def decode(cls, data: bytes, number: int, uri: str) -> Manifest:
        """Read back what :meth:`encode` made.

        Raises:
            CorruptObjectError: The bytes are not what was written at this number.
            StoreFormatError: A newer version wrote it.
        """
        if is_stub_document(data, uri):
            raise corrupt(uri, "it has been reduced to a stub, as manifests are that were superseded long ago")
        body = unseal("manifest", data, uri)
        check_format(body, uri, FORMAT_VERSION)
        del body["format"]
        try:
            manifest = cls.model_validate(body)
        except ValidationError as error:
            raise invalid(uri, error) from error
        if manifest.number != number:
            raise corrupt(uri, f"it is manifest {manifest.number}")
        return manifest

    def files(self, table: str) -> tuple[FileEntry, ...]:
        """The files of a table; none if it has not been folded."""
        return self.tables.get(table, ())

    def names(self) -> frozenset[str]:
        """Keys of all objects that it speaks of, also where only a newer version knows what it says of them."""
        entries: list[Evolving] = [entry for files in self.tables.values() for entry in files]
        entries += [*self.segments, *self.quarantined, *(entry.file for entry in self.quarantined if entry.file)]
        known = {entry.key for entry in entries if isinstance(entry, FileEntry | SegmentEntry | QuarantineEntry)}
        return frozenset(known.union(*(_texts(entry.model_extra) for entry in (self, *entries) if entry.model_extra)))

    @property
    def runs(self) -> tuple[FileEntry, ...]:
        """The files of the table ``runs``."""
        return self.files(RUNS)


def _texts(value: object) -> set[str]:
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return {str(name) for name in value}.union(*map(_texts, value.values()))
    return set().union(*map(_texts, value)) if isinstance(value, list | tuple) else set()


def encode_stub(number: int) -> bytes:
    """What keeps a number taken when its manifest is not needed any more."""
    return seal("stub", {"format": FORMAT_VERSION, "number": number})


def is_stub_document(data: bytes, uri: str) -> bool:
    """Whether an object of ``manifests/`` is a stub, of whatever minor version.

    Raises:
        CorruptObjectError: It is not whole.
    """
    return kind_of(data, uri) == "stub"


def is_stub(info: ObjectInfo) -> bool:
    """Whether a listed manifest is a stub; its size tells, which no manifest has."""
    number = manifest_number(info.key)
    return number is not None and info.size == len(encode_stub(number))


class ManifestReader:
    """Finds and reads manifests and their indexes; remembers the newest one. Safe for several threads.

    Attributes:
        segments: Reads the segments of the indexes.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self.segments = SegmentReader(objects)
        self._lock = threading.Lock()
        self._newest: Manifest | None = None
        self._indexed: tuple[int, EventIndex] = (0, EventIndex())

    def newest_number(self) -> int:
        """Number of the newest manifest; 0 if there is none."""
        return max((manifest_number(info.key) or 0 for info in self._objects.list(MANIFESTS)), default=0)

    def newest(self) -> Manifest | None:
        """The newest manifest; None if nothing has been folded yet.

        Raises:
            CorruptObjectError: It is damaged or gone.
        """
        return self._current(lambda manifest: manifest)

    def newest_with_index(self) -> tuple[Manifest | None, EventIndex]:
        """The newest manifest and its index.

        Raises:
            CorruptObjectError: One of the two is damaged or gone.
        """
        manifest, index = self._current(lambda manifest: (manifest, self.index(manifest)))
        with self._lock:
            if manifest is not None and manifest.number > self._indexed[0]:
                self._indexed = manifest.number, index
        return manifest, index

    def _current(self, use: Callable[[Manifest | None], AnswerT]) -> AnswerT:
        """What is no longer there, or a stub, is no damage if it is not the newest any more: look again."""
        while True:
            number = self.newest_number()
            try:
                return use(self._read_once(number) if number else None)
            except CorruptObjectError:
                if self.newest_number() == number:
                    raise

    def _read_once(self, number: int) -> Manifest:
        with self._lock:
            if self._newest is not None and self._newest.number == number:
                return self._newest
        manifest = self.read(number)
        with self._lock:
            if self._newest is None or self._newest.number < number:
                self._newest = manifest
        return manifest

    def read(self, number: int) -> Manifest:
        """One manifest.

        Raises:
            CorruptObjectError: It cannot be read, is gone, or is a stub. Unless it is the newest that may be by right.
        """
        key = manifest_key(number)
        uri = f"{self._objects.uri}/{key}"
        try:
            data = self._objects.get(key)
        except ObjectNotFoundError as error:
            raise corrupt(uri, "it is gone, though the numbers of manifests stay taken") from error
        return Manifest.decode(data, number, uri)

    def index(self, manifest: Manifest | None) -> EventIndex:
        """The index of a manifest; empty for None."""
        return self.segments.index(manifest.segments if manifest else ())

    def remembered_index(self) -> EventIndex:
        """The newest index that was read so far; empty if none was. Nothing is asked of the store."""
        with self._lock:
            return self._indexed[1]

    def remembered_is_outdated(self) -> bool:
        """Whether a newer manifest was read than that of the index which is remembered."""
        with self._lock:
            return self._newest is not None and self._newest.number > self._indexed[0]
