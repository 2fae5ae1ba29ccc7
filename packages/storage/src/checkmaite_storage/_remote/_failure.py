"""What can go wrong with one request, whichever cloud answers it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Failure", "Kind"]


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
