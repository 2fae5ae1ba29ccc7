"""The proof that a store honours put-if-absent, the same for every connector."""

from __future__ import annotations

import contextlib
import secrets

from checkmaite_core.errors import AccessDeniedError, ConditionalPutError, ObjectExistsError, StorageError
from checkmaite_storage._interface import ObjectInfo, ObjectStore

__all__ = ["PROBE_PREFIX", "probe"]

PROBE_PREFIX = "probes/"
"""Where probe objects lie while they are needed, and afterwards where those who made them may not delete."""


def probe(store: ObjectStore) -> ObjectInfo:
    """Put one new object twice; see :meth:`ObjectStore.probe`."""
    key = f"{PROBE_PREFIX}{secrets.token_hex(16)}"
    first, second = b"first", b"second"
    store.put_if_absent(key, first)
    try:
        try:
            store.put_if_absent(key, second)
        except ObjectExistsError:
            pass
        else:
            raise _refusal(store, "a second put of one key succeeded")
        if store.get(key) != first:
            raise _refusal(store, "a refused put changed the object")
        entry = next((info for info in store.list(key) if info.key == key), None)
        if entry is None:
            raise StorageError(
                f"{store.uri} does not list the object {key} that was just put there.",
                hint="Use a store whose listings show every finished write (all current S3, GCS and Azure do).",
                uri=store.uri,
            )
        return entry
    finally:
        # A worker may write and not delete, and can still found a store; readers take no notice of probes.
        with contextlib.suppress(AccessDeniedError):
            store.delete(key)


def _refusal(store: ObjectStore, what: str) -> ConditionalPutError:
    return ConditionalPutError(
        f"{store.uri} does not honour put-if-absent: {what}.",
        hint="Choose another location: here two writers would overwrite each other's results unnoticed.",
        uri=store.uri,
    )
