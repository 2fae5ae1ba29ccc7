"""Folders of a local store: opened one step at a time, so that no symbolic link leads outside."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence

__all__ = ["ensure_root", "open_folder", "open_root", "sync_path"]

_MODE = 0o777  # less what the umask takes; group and ACL come from the folder above, as the kernel has it
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def open_root(root: str) -> Iterator[int]:
    """Open the store's own folder; the user chose this path, so links in it are followed."""
    descriptor = os.open(root, _OPEN)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def open_folder(root: str | int, folders: Sequence[str], *, create: bool = False) -> Iterator[int]:
    """Open a folder below ``root`` (a path or an open folder) without following links.

    Args:
        root: Where to start.
        folders: The steps down.
        create: Make what is missing, durably, open to whom the umask and the folder above say.

    Raises:
        FileNotFoundError: It is missing.
        OSError: ``ELOOP`` or ``ENOTDIR`` where a link or a file stands in a folder's place.
    """
    current = os.dup(root) if isinstance(root, int) else os.open(root, _OPEN)
    try:
        for folder in folders:
            below = _step(current, folder, create=create)
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def _step(above: int, folder: str, *, create: bool) -> int:
    try:
        return os.open(folder, _OPEN | os.O_NOFOLLOW, dir_fd=above)
    except FileNotFoundError:
        if not create:
            raise
    with contextlib.suppress(FileExistsError):  # another writer was first
        os.mkdir(folder, _MODE, dir_fd=above)
    os.fsync(above)
    return os.open(folder, _OPEN | os.O_NOFOLLOW, dir_fd=above)


def ensure_root(root: str) -> None:
    """Make the store's folder and those above it, durably; ones that exist keep their modes."""
    missing = []
    path = root
    while not os.path.isdir(path):
        missing.append(path)
        above = os.path.dirname(path)
        if above == path:
            break
        path = above
    for path in reversed(missing):
        try:
            os.mkdir(path, _MODE)
        except FileExistsError:
            if not os.path.isdir(path):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
        with open_root(os.path.dirname(path)) as above_descriptor:
            os.fsync(above_descriptor)


def sync_path(root: str, folders: Sequence[str]) -> None:
    """Make the entries of ``folders`` durable, from the root down."""
    for depth in range(len(folders)):
        with open_folder(root, folders[:depth]) as descriptor:
            os.fsync(descriptor)
