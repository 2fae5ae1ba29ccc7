"""What the operating system said, in terms of the store."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from checkmaite_core.errors import (
    AccessDeniedError,
    ConditionalPutError,
    CorruptObjectError,
    StorageError,
    StorageFullError,
    StorageUnreachableError,
)

__all__ = ["translated"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_UNREACHABLE = {errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN}
_MISPLACED = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}


@contextlib.contextmanager
def translated(uri: str, verb: str) -> Iterator[None]:
    """Turn an ``OSError`` into the store's error for ``uri``; ``verb`` is what was tried, such as ``written``."""
    try:
        yield
    except OSError as error:
        raise _translate(error, uri, verb) from error


def _translate(error: OSError, uri: str, verb: str) -> StorageError:
    message = f"{uri} could not be {verb}: {error.strerror or error}."
    code = error.errno
    if code in _FULL:
        return StorageFullError(
            message,
            hint="Free space or raise the quota (`df -h`, `quota`), then try again: nothing was written.",
            uri=uri,
        )
    if code in _DENIED:
        return AccessDeniedError(message, hint=_how_to_get_access(code, verb), uri=uri)
    if code in _UNREACHABLE:
        return StorageUnreachableError(message, hint="Check the mount and the server behind it, then retry.", uri=uri)
    if code in _MISPLACED:
        return CorruptObjectError(
            message,
            hint="A symbolic link, file or folder stands in the place of another kind of entry: move it away. Links "
            "inside a store are never followed; mount other disks with a bind mount.",
            uri=uri,
        )
    if code in (errno.EOPNOTSUPP, errno.EMLINK):
        return ConditionalPutError(
            message, hint="The file system has no hard links, which put-if-absent needs: choose another one.", uri=uri
        )
    return StorageError(message, hint="Check the disk and the file system (`dmesg`), then try again.", uri=uri)


def _how_to_get_access(code: int, verb: str) -> str:
    if code == errno.EROFS:
        return "The file system is mounted read-only: see `findmnt -T` for the folder, or choose another location."
    if verb in ("read", "listed"):
        return "Ask the owner (`ls -ld`) to let you read: r on its files, r and x on its folders."
    return "Check with `ls -ld` who owns the folder: writing and deleting need w and x on it."
