"""One file, whole and durable or not there at all."""

from __future__ import annotations

import errno
import os
import secrets

from checkmaite_core.errors import ConditionalPutError, ObjectExistsError

__all__ = ["create_file"]

# The kernel takes the umask, the folder's group (setgid) and its default ACL into account, and without a race:
# a process can only look at its umask by changing it for all of its threads.
_MODE = 0o666

_UNNAMED_UNSUPPORTED = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}
_LINKS_UNSUPPORTED = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}


def create_file(folder: int, name: str, data: bytes, uri: str) -> None:
    """Create ``name`` in an open folder with exactly ``data``.

    The data is durable before the name appears, and the name before this returns. A crash leaves nothing,
    except on file systems without unnamed files (NFS), where it can leave a file named ``.tmp-*``, which no
    listing shows. Who may read it, the umask and the folder say.

    Raises:
        ObjectExistsError: The name is taken; its entry has been made durable.
        ConditionalPutError: The file system has no hard links.
        OSError: Anything else.
    """
    try:
        if not _create_unnamed(folder, name, data):
            _create_by_temporary(folder, name, data)
    except FileExistsError:
        # Its writer may have died before syncing the folder, and the caller will build on it.
        os.fsync(folder)
        raise ObjectExistsError(
            f"{uri} exists.", hint="Objects never change: read this one, or use another key.", uri=uri
        ) from None
    except _NoLinksError as error:
        raise ConditionalPutError(
            f"{uri} could not be written: its file system has no hard links ({error}).",
            hint="Put the store on ext4, xfs, btrfs, zfs, APFS or NFS; exFAT and some FUSE mounts cannot hold it.",
            uri=uri,
        ) from error
    os.fsync(folder)


class _NoLinksError(Exception):
    pass


def _create_unnamed(folder: int, name: str, data: bytes) -> bool:
    """Through a file that has no name until it is complete; False where the system has no such files."""
    flag: int | None = getattr(os, "O_TMPFILE", None)
    if flag is None:
        return False
    try:
        file = os.open(".", flag | os.O_WRONLY | os.O_CLOEXEC, _MODE, dir_fd=folder)
    except OSError as error:
        if error.errno in _UNNAMED_UNSUPPORTED:
            return False
        raise
    try:
        _fill(file, data)
        try:
            os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=folder, follow_symlinks=True)
        except FileNotFoundError:
            return False  # no /proc here
        except OSError as error:
            if error.errno in (errno.EXDEV, *_LINKS_UNSUPPORTED):
                return False  # let the named way say what is wrong
            raise
    finally:
        os.close(file)
    return True


def _create_by_temporary(folder: int, name: str, data: bytes) -> None:
    temporary = f".tmp-{secrets.token_hex(16)}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE, dir_fd=folder)
    try:
        _fill(file, data)
        try:
            os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            # Over NFS the answer to a link that was made can get lost, and its repeat then meets itself.
            if os.fstat(file).st_nlink != 2:
                raise
        except OSError as error:
            if error.errno in _LINKS_UNSUPPORTED:
                raise _NoLinksError(error.strerror) from error
            raise
    finally:
        os.close(file)
        os.unlink(temporary, dir_fd=folder)


def _fill(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
    # File times come from a clock that ticks every few milliseconds, but Linux 6.13 and later take a finer one for
    # a file whose time has been looked at. It is still the time of the server, also on NFS: we name none.
    os.fstat(file)
    os.utime(file)
    os.fsync(file)
