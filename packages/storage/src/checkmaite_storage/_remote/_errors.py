"""From a failed request to an error that names the object and the remedy."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from checkmaite_core.errors import (
    AccessDeniedError,
    ConditionalPutError,
    ContainerNotFoundError,
    CorruptObjectError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    StorageUnreachableError,
    UnauthenticatedError,
)
from checkmaite_storage._remote._failure import Failure, Kind

__all__ = ["Remedies", "Verb", "error_for"]


class Verb(enum.Enum):
    """What was tried; the value is how a message says it."""

    READ = "read"
    LIST = "listed"
    WRITE = "written"
    DELETE = "deleted"


@dataclass(frozen=True, slots=True)
class Remedies:
    """What to do about each refusal of one cloud: commands, variables and options to type.

    Attributes:
        denied: By verb: the right that is missing.
        unauthenticated: Where credentials come from.
        absent_container: How to make or find it.
        unreachable: What the endpoint depends on.
    """

    denied: Mapping[Verb, str]
    unauthenticated: str
    absent_container: str
    unreachable: str


_KINDS: Mapping[Kind, type[StorageError]] = {
    Kind.ABSENT_OBJECT: ObjectNotFoundError,
    Kind.ABSENT_CONTAINER: ContainerNotFoundError,
    Kind.EXISTS: ObjectExistsError,
    Kind.DENIED: AccessDeniedError,
    Kind.UNAUTHENTICATED: UnauthenticatedError,
    Kind.UNREACHABLE: StorageUnreachableError,
    Kind.TRANSIENT: StorageUnreachableError,
    Kind.FULL: StorageFullError,
    Kind.UNCONDITIONAL: ConditionalPutError,
    Kind.CORRUPT: CorruptObjectError,
    Kind.OTHER: StorageError,
}


def error_for(failure: Failure, verb: Verb, uri: str, remedies: Remedies, *, tried: str) -> StorageError:
    """The public error for a failure; ``failure.text`` must be scrubbed, ``tried`` says how often and how long."""
    kind = failure.kind
    if kind is Kind.ABSENT_OBJECT:
        message = f"there is no object {uri}."
    elif kind is Kind.EXISTS:
        message = f"{uri} exists."
    else:
        reason = failure.text.rstrip(".")
        message = f"{uri} could not be {verb.value}: {reason}{f' ({tried})' if kind.is_retried else ''}."
    return _KINDS[kind](message, hint=_hint(kind, verb, remedies), uri=uri)


def _hint(kind: Kind, verb: Verb, remedies: Remedies) -> str:
    match kind:
        case Kind.ABSENT_OBJECT:
            return "Check the location; list it to see what is there."
        case Kind.EXISTS:
            return "Objects never change: read this one, or use another key."
        case Kind.ABSENT_CONTAINER:
            return remedies.absent_container
        case Kind.DENIED:
            return remedies.denied[verb]
        case Kind.UNAUTHENTICATED:
            return remedies.unauthenticated
        case Kind.UNREACHABLE:
            return remedies.unreachable
        case Kind.TRANSIENT if verb is Verb.WRITE:
            return (
                "The store answers no more or is overloaded. Write again under the same key: whether this write "
                f"happened is not known, and a repeat does no harm. {remedies.unreachable}"
            )
        case Kind.TRANSIENT:
            return f"The store answers no more or is overloaded: try again later. {remedies.unreachable}"
        case Kind.FULL:
            return "Free space or raise the quota, then try again: nothing was written."
        case Kind.UNCONDITIONAL:
            return "Choose a store that knows put-if-absent: here two writers would overwrite each other's results."
        case Kind.CORRUPT:
            return "The bytes changed on their way or at rest: read again; if it stays so, restore the object."
        case Kind.OTHER:
            return "Check the location and the storage_options against what the store expects."
