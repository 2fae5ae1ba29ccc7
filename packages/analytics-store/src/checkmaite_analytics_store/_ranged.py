"""Files of an object store as Arrow reads them: in parts, of known size, and nothing of the library let through."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.fs

from checkmaite_analytics_store._manifest import FileEntry
from checkmaite_storage import ObjectStore

__all__ = ["RangedFile", "RangedFiles"]

_WHOLE = 512 * 1024
"""Bytes. Of a file that is not larger, to ask for the rest costs more time than to read it along with the footer."""


class RangedFile(io.RawIOBase):
    """One file, read by ranges. Its size comes from the manifest, so that nobody has to ask for it.

    What an earlier read got of the file's end is kept while the file is open: there lies the footer, and of a small
    file all of it.

    Args:
        objects: Where the file lies.
        entry: The file.
        failed: Gets the file's key when a read fails.
    """

    def __init__(self, objects: ObjectStore, entry: FileEntry, failed: set[str] | None = None) -> None:
        super().__init__()
        self._objects = objects
        self._entry = entry
        self._failed = failed
        self._position = 0
        self._end = b""

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The next read's position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the next read's position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._entry.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def size(self) -> int:
        """Bytes, as the manifest says."""
        return self._entry.size

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes, as many as are asked for unless the file ends.

        Raises:
            OSError: The store did not give them. Why is not said: only the store's own errors are safe to show.
        """
        start = min(self._position, self._entry.size)
        stop = self._entry.size if size is None or size < 0 else min(start + size, self._entry.size)
        data = self._range(start, stop) if stop > start else b""
        self._position = stop
        return data

    def _range(self, start: int, stop: int) -> bytes:
        kept_from = self._entry.size - len(self._end)
        if start >= kept_from:
            return self._end[start - kept_from : stop - kept_from]
        first = start
        if stop == self._entry.size and stop <= _WHOLE:  # the footer is asked for, and what it describes is next
            first = 0
        data = self._ask(first, stop)
        if data is None or len(data) != stop - first:
            if self._failed is not None:
                self._failed.add(self._entry.key)
            raise OSError(f"{self._objects.uri}/{self._entry.key}: bytes {start} to {stop} could not be read")
        if stop == self._entry.size:
            self._end = data
        return data[start - first :]

    def _ask(self, start: int, stop: int) -> bytes | None:
        try:
            return bytes(self._objects.filesystem.cat_file(self._objects.path(self._entry.key), start=start, end=stop))
        except Exception:  # of any library; its text may hold secrets, so it must not become a context either
            return None


class RangedFiles(pyarrow.fs.FileSystemHandler):  # type: ignore[misc]
    """Opens the files that it is told of, by key, for Arrow. Safe for several threads.

    Args:
        objects: Where they lie.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._entries: dict[str, FileEntry] = {}
        self._failed: set[str] = set()

    def add(self, entries: Iterable[FileEntry]) -> None:
        """Make files known, by their keys."""
        self._entries.update((entry.key, entry) for entry in entries)

    def take_failed(self) -> set[str]:
        """The keys of the files that could not be read since this was last asked."""
        failed = set(self._failed)
        self._failed.clear()
        return failed

    def open_input_file(self, path: str) -> pa.PythonFile:
        """Open one file."""
        return pa.PythonFile(RangedFile(self._objects, self._entries[path], self._failed), mode="r")

    def open_input_stream(self, path: str) -> pa.PythonFile:
        """Open one file."""
        return self.open_input_file(path)

    def get_file_info(self, paths: list[str]) -> list[pyarrow.fs.FileInfo]:
        """Sizes, from the manifest."""
        return [
            pyarrow.fs.FileInfo(path, pyarrow.fs.FileType.File, size=self._entries[path].size)
            if path in self._entries
            else pyarrow.fs.FileInfo(path, pyarrow.fs.FileType.NotFound)
            for path in paths
        ]

    def get_type_name(self) -> str:
        """What Arrow calls it."""
        return "checkmaite"

    def normalize_path(self, path: str) -> str:
        """The path as it is."""
        return path

    def _refuse(self, *_: Any, **__: Any) -> Any:
        """Nothing but reading is offered."""
        raise NotImplementedError("folded files are only read")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = _refuse
    move = copy_file = open_output_stream = open_append_stream = get_file_info_selector = _refuse
