"""Local disk as an object store: whole files, made visible by a hard link."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from checkmaite_core.errors import (
    ConfigurationError,
    CorruptObjectError,
    ObjectNotFoundError,
    StorageError,
    UnknownOptionError,
)
from checkmaite_core.location import canonical_uri, local_path
from checkmaite_storage._folders import ensure_root, open_folder, open_root, sync_path
from checkmaite_storage._interface import ObjectInfo
from checkmaite_storage._keys import check_key, check_prefix
from checkmaite_storage._local_errors import translated
from checkmaite_storage._local_write import create_file
from checkmaite_storage._probe import probe

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["LocalObjectStore", "local_connector"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LocalObjectStore:
    """Objects as files under one folder; an :class:`ObjectStore`.

    Who may read and write, the umask and the folder say: a setgid folder and a umask of 002 make a store of a team, a
    umask of 077 a private one. Symbolic links below the folder are never followed, so no key leads outside it.
    Put-if-absent is durable and atomic also on NFS.

    Args:
        root: The folder, absolute or relative to the working directory; made at the first write. Links in this path
            are followed now: they may be changed later, and lead a new object elsewhere.

    Raises:
        ConfigurationError: ``root`` exists and is not a folder.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._uri = canonical_uri(os.fspath(root))
        self._root = local_path(self._uri) or ""
        self._lock = threading.Lock()
        self._known_durable: set[str] = set()
        if os.path.lexists(self._root) and not os.path.isdir(self._root):
            raise ConfigurationError(
                f"{self._root} is not a folder.", hint="Pass a folder, or the path of one that does not exist yet."
            )

    def __repr__(self) -> str:
        return f"LocalObjectStore({self._root!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (LocalObjectStore, (self._root,))

    @property
    def uri(self) -> str:
        """The folder's absolute path, as :func:`checkmaite_core.location.canonical_uri` spells it."""
        return self._uri

    @cached_property
    def filesystem(self) -> AbstractFileSystem:
        """The local filesystem of fsspec."""
        import fsspec  # not needed for whole objects, so not paid for by them

        return fsspec.filesystem("file")

    @property
    def is_local(self) -> bool:
        """Always true."""
        return True

    def path(self, key: str) -> str:
        """The file's absolute path."""
        return os.path.join(self._root, *check_key(key).split("/"))

    def address(self, key: str) -> str:
        """The file's absolute path."""
        return self.path(key)

    def get(self, key: str) -> bytes:
        """Read one object; see :meth:`ObjectStore.get`."""
        uri = self._uri_of(check_key(key))
        *folders, name = key.split("/")
        with translated(uri, "read"), contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(open_folder(self._root, folders))
                # O_NONBLOCK: a named pipe in an object's place must not make us wait for its writer.
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except FileNotFoundError:
                raise ObjectNotFoundError(
                    f"there is no object {uri}.", hint="Check the location; list it to see what is there.", uri=uri
                ) from None
            with os.fdopen(file, "rb") as handle:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise CorruptObjectError(
                        f"{uri} is not a regular file.", hint="Remove what was put in the object's place.", uri=uri
                    )
                return handle.read()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """List objects; see :meth:`ObjectStore.list`. Other things than regular files are left out."""
        folder, _, start = check_prefix(prefix).rpartition("/")
        uri = self._uri_of(prefix)
        with translated(uri, "listed"):
            try:
                with open_folder(self._root, folder.split("/") if folder else []) as descriptor:
                    found = list(_entries(descriptor, f"{folder}/" if folder else "", start))
            except FileNotFoundError:
                return
            except NotADirectoryError:
                if not self._meets_link(folder):
                    return  # an object has the folder's name, so nothing lies below it
                raise
        yield from found

    def put_if_absent(self, key: str, data: bytes) -> None:
        """Create one object; see :meth:`ObjectStore.put_if_absent`."""
        uri = self._uri_of(check_key(key))
        *folders, name = key.split("/")
        with translated(uri, "written"):
            self._ensure_root()
            with open_folder(self._root, folders, create=True) as folder:
                self._ensure_durable(folders)
                create_file(folder, name, data, uri)

    def delete(self, key: str) -> None:
        """Remove one object; see :meth:`ObjectStore.delete`."""
        *folders, name = check_key(key).split("/")
        with (
            translated(self._uri_of(key), "deleted"),
            contextlib.suppress(FileNotFoundError),
            open_folder(self._root, folders) as folder,
        ):
            os.unlink(name, dir_fd=folder)

    def probe(self) -> ObjectInfo:
        """Prove put-if-absent; see :meth:`ObjectStore.probe`."""
        return probe(self)

    def _uri_of(self, key: str) -> str:
        if not key:
            return self._uri
        return f"{self._uri}/{_quote(key) if self._uri.startswith('file:') else key}"

    def _meets_link(self, folder: str) -> bool:
        steps = folder.split("/")
        return any(os.path.islink(os.path.join(self._root, *steps[: depth + 1])) for depth in range(len(steps)))

    def _ensure_root(self) -> None:
        if not os.path.isdir(self._root):
            with self._lock:
                self._known_durable.clear()
                ensure_root(self._root)

    def _ensure_durable(self, folders: Sequence[str]) -> None:
        """Another process may have made these folders and not synced their entries yet: do it once ourselves."""
        path = "/".join(folders)
        with self._lock:
            if path in self._known_durable:
                return
        # A folder above that is closed to us is not one in which we have made ours: who did has synced it.
        with contextlib.suppress(PermissionError), open_root(os.path.dirname(self._root)) as above:
            os.fsync(above)
        sync_path(self._root, folders)
        with self._lock:
            self._known_durable.add(path)


def local_connector(uri: str, storage_options: Mapping[str, Any]) -> LocalObjectStore:
    """Open a folder as an object store: the connector of paths and of ``file://`` URIs.

    Args:
        uri: A path, or a ``file:`` URI, whose percent-encoding is undone.
        storage_options: Local disk has none.

    Raises:
        UnknownOptionError: An option was given.
        ConfigurationError: The URI names another host, or the path is not a folder.
    """
    if storage_options:
        names = ", ".join(sorted(map(repr, storage_options)))
        raise UnknownOptionError(
            f"local disk takes no storage_options, but was given {names}.",
            hint="Leave storage_options out, or use the URI of the object store that they are meant for.",
        )
    return LocalObjectStore(uri)


def _quote(path: str) -> str:
    return quote_from_bytes(os.fsencode(path), safe="/")


def _entries(folder: int, above: str, start: str) -> Iterator[ObjectInfo]:
    """Objects below an open folder, sorted by key; ``above`` is the folder's key with its ``/``."""
    with os.scandir(folder) as scan:
        # A folder sorts as its name with "/", because that is how its objects' keys go on.
        named = sorted(
            (entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name, entry)
            for entry in scan
            if entry.name.startswith(start) and not entry.name.startswith(".")
        )
        for name, entry in named:
            if not _is_key(above + name.removesuffix("/")):
                continue
            if name.endswith("/"):
                try:
                    with open_folder(folder, [entry.name]) as below:
                        yield from _entries(below, above + name, "")
                except FileNotFoundError:
                    continue  # removed while we listed
            elif entry.is_file(follow_symlinks=False):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # as above
                modified = _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
                yield ObjectInfo(above + name, status.st_size, modified)


def _is_key(name: str) -> bool:
    try:
        check_key(name)
    except StorageError:
        return False
    return True
