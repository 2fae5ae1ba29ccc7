"""What a storage connector offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["Connector", "ObjectInfo", "ObjectStore"]


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One entry of a listing.

    Attributes:
        key: The object's key.
        size: Bytes.
        last_modified: When the object was made, by the clock of the server that keeps it (UTC). Its resolution
            is the server's: below a microsecond to some milliseconds on disks, a second on most object stores.
    """

    key: str
    size: int
    last_modified: datetime


@runtime_checkable
class ObjectStore(Protocol):
    """Whole objects under one location. The only write is put-if-absent, so an object never changes.

    Safe to use from several threads. Every method may also raise ``AccessDeniedError``,
    ``UnauthenticatedError``, ``StorageUnreachableError`` or a plain ``StorageError``: one is never read
    as another, nor as absence.
    """

    @property
    def uri(self) -> str:
        """The location, absolute, without credentials and without a final ``/``."""
        ...

    @property
    def filesystem(self) -> AbstractFileSystem:
        """An fsspec filesystem for ranged reads; objects lie at :meth:`path`. Made when first asked for."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether :meth:`path` can be opened by any program of this machine."""
        ...

    def path(self, key: str) -> str:
        """Where an object lies for :attr:`filesystem`: an absolute path on local disk, else ``bucket/prefix/key``.

        Raises:
            StorageError: The key cannot name an object.
        """
        ...

    def address(self, key: str) -> str:
        """Where other tools find an object: an absolute path on local disk, else a full URI."""
        ...

    def get(self, key: str) -> bytes:
        """Read one object.

        Raises:
            ObjectNotFoundError: There is none of this key.
            CorruptObjectError: Something that is no object lies in its place.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """The objects whose keys begin with ``prefix`` (empty, a key, or a key and ``/``), sorted by key.

        A location that does not exist yet lists as empty where writing would create it.
        """
        ...

    def put_if_absent(self, key: str, data: bytes) -> None:
        """Create one object, atomically and durably: when this returns it survives a crash, whole.

        Raises:
            ObjectExistsError: There is one of this key; that one is durable too.
            StorageFullError: No space or quota is left; nothing has been written.
            ConditionalPutError: The location has no way to do it safely.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove one object; one that is absent is no error."""
        ...

    def probe(self) -> ObjectInfo:
        """Prove that put-if-absent holds by putting one probe object twice, then remove it.

        Needs the rights to get, list and put. Without the right to delete, the object (a few bytes) stays.

        Returns:
            The probe's entry as the store listed it; its ``last_modified`` is the server's time just now.

        Raises:
            ConditionalPutError: The second put succeeded, so the store may not be used for results.
        """
        ...


class Connector(Protocol):
    """What an entry point of the group ``checkmaite.storage`` names; the entry point's name is the URI scheme."""

    def __call__(self, uri: str, storage_options: Mapping[str, Any]) -> ObjectStore:
        """Open the location; nothing is created.

        Raises:
            UnknownOptionError: An option that the connector does not have.
            ConfigurationError: The URI is not one of its own.
        """
        ...
