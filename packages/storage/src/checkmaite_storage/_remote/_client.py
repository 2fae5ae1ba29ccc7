"""What one cloud brings: its requests, and how to read what comes back."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from checkmaite_storage._remote._location import Location

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from checkmaite_storage._remote._errors import Remedies

__all__ = ["Client", "Entry", "Failure", "Kind", "Page"]


class Kind(enum.Enum):
    """What went wrong with one request."""

    ABSENT_OBJECT = "absent object"
    ABSENT_CONTAINER = "absent container"
    EXISTS = "exists"
    """The condition of a ``create`` does not hold: something is there."""
    DENIED = "denied"
    """Known to the server, not allowed."""
    UNAUTHENTICATED = "unauthenticated"
    """No credentials, expired ones, or ones that the server does not accept."""
    UNREACHABLE = "unreachable"
    """No connection was made, so nothing was sent: retried for a short while."""
    TRANSIENT = "transient"
    """409, 429, 5xx, a timeout, a connection lost: retried, and a write may have happened all the same."""
    FULL = "full"
    UNCONDITIONAL = "unconditional"
    """The server does not know the condition of ``create``."""
    CORRUPT = "corrupt"
    """The bytes do not match the checksum that the server sent with them."""
    OTHER = "other"
    """Anything else, such as a malformed request: not retried."""

    @property
    def is_retried(self) -> bool:
        """Whether another attempt may end differently."""
        return self in (Kind.UNREACHABLE, Kind.TRANSIENT)


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed request.

    Attributes:
        kind: What went wrong.
        text: One line for the user: status, code and message of the server, or the library's exception. The store
            scrubs secrets from it before it is shown.
    """

    kind: Kind
    text: str


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
        """Put an object where none is, with ``token`` in its metadata; the server checks the condition."""
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
