"""Staged outputs on a worker's own disk, while the store does not answer: private files in one folder.

The folder is ``$CHECKMAITE_STAGING_DIR``, or ``checkmaite-staged-<uid>`` below the system's folder for temporary files.
It and its files belong to their user alone, and one that does not is not read: what is in them is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

from checkmaite_core.errors import AccessDeniedError, StorageError
from checkmaite_core.naming import check_event_id

__all__ = ["drop", "keep", "path_of", "read"]

_FOLDER = "CHECKMAITE_STAGING_DIR"


def path_of(store_uri: str, event_id: str) -> Path:
    """Where the outputs of an event lie on this node, if they are there."""
    given = os.environ.get(_FOLDER)
    folder = Path(given) if given else Path(tempfile.gettempdir()) / f"checkmaite-staged-{_user()}"
    digest = hashlib.sha256(store_uri.encode()).hexdigest()[:16]
    return folder / f"{digest}-{check_event_id(event_id)}.staged"


def keep(store_uri: str, event_id: str, data: bytes) -> Path:
    """Write an event's outputs, durably.

    Raises:
        StorageError: The disk does not take them.
    """
    path = path_of(store_uri, event_id)
    temporary = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_private(path.parent)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(
            f"{path} could not be written: {error.strerror or error}.",
            hint=f"Give the worker a folder with room: {_FOLDER}=/path in its environment.",
            uri=str(path),
        ) from error
    return path


def read(store_uri: str, event_id: str) -> bytes | None:
    """An event's outputs; None if they are not on this node.

    Raises:
        AccessDeniedError: Somebody else could have put them there.
        StorageError: They cannot be read.
    """
    path = path_of(store_uri, event_id)
    try:
        _require_private(path.parent)
        with path.open("rb") as file:
            _require_own(os.fstat(file.fileno()), path)
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(
            f"{path} could not be read: {error.strerror or error}.", hint="Look at the disk.", uri=str(path)
        ) from error


def drop(store_uri: str, event_id: str) -> None:
    """Remove an event's outputs; nothing if there are none, or they cannot be removed."""
    try:
        path_of(store_uri, event_id).unlink(missing_ok=True)
    except OSError:
        return  # they are of no more use, and do no harm


def _require_private(folder: Path) -> None:
    _require_own(folder.lstat(), folder)


def _require_own(found: os.stat_result, path: Path) -> None:
    if found.st_uid != _user() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AccessDeniedError(
            f"{path} belongs to somebody else, or others may write to it, so nothing is read from or put there.",
            hint=f"Remove it, or name another folder with {_FOLDER}.",
            uri=str(path),
        )


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
