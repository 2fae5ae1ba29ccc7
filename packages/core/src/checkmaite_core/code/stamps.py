"""Files known by what ``stat`` says of them, and read again only where that has changed or may hide a change."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from typing import NamedTuple

__all__ = ["Stamp", "is_settled", "raw_digest", "stamp_of"]

_TICK_NS = 50_000_000
"""A file that was changed this short before it was read may be changed again and look the same: the clocks of file
systems tick every few milliseconds."""
_LENGTH = 16


class Stamp(NamedTuple):
    """What changes with a file or folder. The time of its inode cannot be set, by ``cp -p`` or ``rsync`` either."""

    modified_ns: int
    changed_ns: int
    size: int
    inode: int
    mode: int

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.mode)


def stamp_of(path: str) -> Stamp | None:
    """None if it is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return Stamp(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_mode)


def is_settled(stamp: Stamp | None, read_at_ns: int) -> bool:
    """Whether something that was read then is as long unchanged as its stamp is.

    Args:
        stamp: What was seen before it was read.
        read_at_ns: The time of that (``time.time_ns()``).
    """
    return stamp is None or abs(read_at_ns - max(stamp.modified_ns, stamp.changed_ns)) > _TICK_NS


_digests: dict[str, tuple[Stamp, int, str]] = {}


def raw_digest(path: str) -> str | None:
    """The digest of a file's bytes; None if it cannot be read. It is read again only if it may have changed."""
    stamp = stamp_of(path)
    if stamp is None or not stamp.is_file:  # a pipe would wait for ever
        return None
    known = _digests.get(path)
    if known is not None and known[0] == stamp and is_settled(stamp, known[1]):
        return known[2]
    read_at = time.time_ns()
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:_LENGTH]
    except OSError:
        return None
    _digests[path] = (stamp, read_at, digest)
    return digest
