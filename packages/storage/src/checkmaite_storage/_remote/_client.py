"""What one cloud brings: its requests, and how to read what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from checkmaite_storage._remote._errors import Remedies
from checkmaite_storage._remote._failure import Failure
from checkmaite_storage._remote._location import Location

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["Client", "Entry", "Page"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing: its whole name in the container, bytes, and the server's time of its making (UTC)."""

    name: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing; ``next`` is what to ask the next page with, or None at the end."""

    entries: Sequence[Entry]
    next: str | None


class Client(Protocol):
    """The requests of one cloud to one container. Safe to use from several threads and after a fork.

    ``name`` is an object's whole name in the container; ``timeout`` is in seconds, for the whole call.
    """

    @property
    def location(self) -> Location:
        """Where the store lies."""
        ...

    @property
    def remedies(self) -> Remedies:
        """What to type when a request is refused."""
        ...

    @property
    def has_options(self) -> bool:
        """Whether ``storage_options`` were given: they may not travel, so such a store is not pickled."""
        ...

    @property
    def largest(self) -> int:
        """Bytes of the largest object that :meth:`create` takes: always one request, whose condition a probe proves."""
        ...

    @property
    def secrets(self) -> frozenset[str]:
        """Values that must not be shown."""
        ...

    @property
    def filesystem(self) -> AbstractFileSystem:
        """For ranged reads by other libraries: without a listings cache, not shared, with its own retries."""
        ...

    def get(self, name: str, timeout: float) -> bytes:
        """One whole object; once the answer has begun, :func:`transfer_seconds` may be added to ``timeout``."""
        ...

    def page(self, prefix: str, start: str | None, timeout: float) -> Page:
        """One page of the objects whose names begin with ``prefix``, from where ``start`` (a ``Page.next``) says."""
        ...

    def create(self, name: str, data: bytes, token: str, timeout: float) -> None:
        """Put an object where none is, with ``token`` in its metadata; the server checks the condition.

        In one request: servers exist that check it there, and not where an upload in parts ends.
        """
        ...

    def token(self, name: str, timeout: float) -> str | None:
        """The token in an object's metadata; None where it has none."""
        ...

    def delete(self, name: str, timeout: float) -> None:
        """Remove one object."""
        ...

    def explain(self, error: Exception) -> Failure:
        """Read an exception that one of the above let pass."""
        ...
