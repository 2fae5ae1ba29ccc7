"""Looking at the place for the results before anything is started that takes long."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from checkmaite_cli.opening import local_folder
from checkmaite_core.errors import AccessDeniedError, StorageError, StorageFullError

__all__ = ["prepared"]

NEEDED = 4 * 1024 * 1024
"""Bytes that must be free; the demo's results take less."""
_ELSEWHERE = "Choose another place with --store PATH."


def prepared(store: str) -> str:
    """The store's location, absolute, where results can be written as far as can be told beforehand.

    Nothing is left behind by looking; the store itself comes into being with its first result.

    Raises:
        AccessDeniedError: The folder cannot be written to.
        StorageFullError: The disk is full.
        StoreFormatError: The location holds something else than a store.
        StoreError: It cannot be used otherwise.
    """
    folder = local_folder(store)
    if folder is not None:
        store = str(folder)
        try:
            # As Path.exists() hides what is wrong with a path, the file that is tried out has to say it.
            with tempfile.TemporaryFile(dir=_nearest_existing(folder)) as file:
                file.write(bytes(NEEDED))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _explained(error, folder) from error
    from checkmaite_analytics_store import AnalyticsStore

    with AnalyticsStore(store) as opened:
        opened.tables()
    return store


def _nearest_existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if os.path.lexists(place))


def _explained(error: OSError, folder: Path) -> StorageError:
    message = f"the analytics store cannot be put at {folder}: {error.strerror or error}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(
            message, hint=f"Make room ({NEEDED // 2**20} MiB are enough). {_ELSEWHERE}", uri=str(folder)
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessDeniedError(
            message, hint=f"Start the demo in a folder that you can write to. {_ELSEWHERE}", uri=str(folder)
        )
    return StorageError(message, hint=_ELSEWHERE, uri=str(folder))
