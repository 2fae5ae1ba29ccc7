"""Staged outputs: what a run has computed and not committed yet, one object of its own for each event.

They are bytes to the store, with their checksum before them. No query sees them. Whoever can write here can have code
run by a worker that takes them up again: they are pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import re

from checkmaite_analytics_store._layout import staged_key
from checkmaite_analytics_store._sealed import corrupt, unknown_version
from checkmaite_core.errors import AccessDeniedError, ObjectExistsError, ObjectNotFoundError
from checkmaite_storage import ObjectStore

__all__ = ["check_staged", "discard", "has", "read", "stage"]

_VERSION = 1
_MAGIC = b"cmst%d\n" % _VERSION
_ANY_MAGIC = re.compile(rb"cmst([0-9]{1,9})\n")
_DIGEST = hashlib.sha256().digest_size


def stage(objects: ObjectStore, event_id: str, data: bytes) -> None:
    """Keep an event's outputs. What is there already stays.

    Raises:
        StorageError: They could not be written.
    """
    with contextlib.suppress(ObjectExistsError):
        objects.put_if_absent(staged_key(event_id), _MAGIC + hashlib.sha256(data).digest() + data)


def read(objects: ObjectStore, event_id: str) -> bytes | None:
    """An event's outputs; None if there are none.

    Raises:
        CorruptObjectError: They are damaged.
    """
    key = staged_key(event_id)
    try:
        data = objects.get(key)
    except ObjectNotFoundError:
        return None
    return check_staged(objects.address(key), data)


def has(objects: ObjectStore, event_id: str) -> bool:
    """Whether an event's outputs are there; they are not read."""
    key = staged_key(event_id)
    return any(info.key == key for info in objects.list(key))


def discard(objects: ObjectStore, event_id: str) -> None:
    """Remove an event's outputs, if this process may; if not, a vacuum does."""
    with contextlib.suppress(AccessDeniedError):
        objects.delete(staged_key(event_id))


def check_staged(uri: str, data: bytes) -> bytes:
    """The outputs of an object's bytes.

    Raises:
        CorruptObjectError: They are not what was written.
    """
    version = _ANY_MAGIC.match(data)
    if version is not None and int(version[1]) != _VERSION:
        raise unknown_version(uri, int(version[1]), _VERSION)
    start = len(_MAGIC) + _DIGEST
    outputs = data[start:]
    if not data.startswith(_MAGIC) or hashlib.sha256(outputs).digest() != data[len(_MAGIC) : start]:
        raise corrupt(uri, "it is not the staged outputs that were written")
    return outputs
