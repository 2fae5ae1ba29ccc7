"""Probes beside a scope's ledger: how a node shows that it can write there, and others that they mean the same place.

They lie below the scope's own prefix, since a registry may have no rights elsewhere.
"""

from __future__ import annotations

from checkmaite_core.errors import ConditionalPutError, ObjectExistsError, ObjectNotFoundError
from checkmaite_core.naming import check_probe_token
from checkmaite_ledger._layout import prefix_of
from checkmaite_storage import ObjectStore

__all__ = ["has_probe", "leave_probe", "remove_probe"]


def leave_probe(objects: ObjectStore, scope: str, token: str) -> None:
    """Prove that a registry's writes would be safe here, with an object that stays.

    Args:
        objects: Where the ledger lies.
        scope: The scope.
        token: From :func:`checkmaite_core.naming.new_probe_token`; used once.

    Raises:
        ConditionalPutError: A second put of one key succeeded, or changed the object.
        StorageError: It could not be written, read or listed.
    """
    key = _key(scope, token)
    objects.put_if_absent(key, token.encode())
    try:
        objects.put_if_absent(key, b"second")
    except ObjectExistsError:
        if has_probe(objects, scope, token) and any(info.key == key for info in objects.list(key)):
            return
    raise ConditionalPutError(
        f"{objects.uri} does not honour put-if-absent, or does not show what was written: {key} was put twice.",
        hint="Choose another location: here two registries would overwrite each other's history unnoticed.",
        uri=objects.uri,
    )


def has_probe(objects: ObjectStore, scope: str, token: str) -> bool:
    """Whether a probe was left under ``token``. Only reads.

    Raises:
        StorageError: It could not be asked.
    """
    try:
        return objects.get(_key(scope, token)) == token.encode()
    except ObjectNotFoundError:
        return False


def remove_probe(objects: ObjectStore, scope: str, token: str) -> None:
    """Remove a probe; one that is absent is no error.

    Raises:
        StorageError: It could not be removed, which a registry must be able to do.
    """
    objects.delete(_key(scope, token))


def _key(scope: str, token: str) -> str:
    return f"{prefix_of(scope)}probes/{check_probe_token(token)}"
