"""Probes under a name: how one process shows another that both mean the same place, and that it may write there."""

from __future__ import annotations

import contextlib

from checkmaite_analytics_store._layout import probe_key
from checkmaite_analytics_store._sealed import corrupt
from checkmaite_core.errors import AccessDeniedError, ObjectExistsError, ObjectNotFoundError
from checkmaite_storage import ObjectStore

__all__ = ["has_probe", "leave_probe", "remove_probe"]


def leave_probe(objects: ObjectStore, token: str) -> None:
    """Prove that put-if-absent holds, then leave an object under ``token``.

    Raises:
        CorruptObjectError: What is read is not what was written.
        StorageError: See :meth:`ObjectStore.probe`.
    """
    key = probe_key(token)
    data = token.encode()
    objects.probe()
    with contextlib.suppress(ObjectExistsError):  # a repeat of this call
        objects.put_if_absent(key, data)
    if objects.get(key) != data:
        raise corrupt(objects.address(key), "it is not the probe that was written")


def has_probe(objects: ObjectStore, token: str) -> bool:
    """Whether there is an object under ``token``."""
    try:
        return objects.get(probe_key(token)) == token.encode()
    except ObjectNotFoundError:
        return False


def remove_probe(objects: ObjectStore, token: str) -> None:
    """Remove the object under ``token``, if this process may."""
    with contextlib.suppress(AccessDeniedError):
        objects.delete(probe_key(token))
