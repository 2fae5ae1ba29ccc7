"""Data files beside the code that the code names: a text in it is the name of a file, or a part of its path."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator

from checkmaite_core.code.stamps import raw_digest, stamp_of

__all__ = ["Names", "data_digest", "data_files"]

_MOST_FILES = 2_000
_MOST_ENTRIES = 10_000
_LARGEST_FILE_BYTES = 64 * 1024 * 1024
_DEEPEST = 6
_LEFT_OUT = frozenset({"__pycache__", "node_modules"})


class Names:
    """The names of files that texts can mean.

    Args:
        texts: Constants of the code.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        parts = {part for text in texts for part in re.split(r"[/\\]", text)} - {"", ".", ".."}
        self._whole = parts
        self._patterns = [part for part in parts if any(sign in part for sign in "*?[") and len(part.strip("*?")) > 1]
        # Of a name that is computed, its end: ".json", "_labels.csv".
        self._ends = tuple(part for part in parts if re.fullmatch(r"[._-][\w.-]*\.\w+|\.\w{1,8}", part))

    def mean(self, name: str) -> bool:
        """Whether a file or folder may be meant."""
        if name in self._whole:
            return name not in _LEFT_OUT
        return bool(self._ends and name.endswith(self._ends)) or any(
            fnmatch.fnmatchcase(name, pattern) for pattern in self._patterns
        )

    def mean_folder(self, name: str) -> bool:
        """Whether a folder may be meant: by its own name alone."""
        return name in self._whole and name not in _LEFT_OUT


def data_files(
    folders: Iterable[tuple[str, str]], names: Names, listed: Callable[[str], Collection[str]]
) -> dict[str, str]:
    """The paths of the files that are meant, by how they are shown.

    Args:
        folders: Where to look, and how that is shown.
        names: What is meant.
        listed: Lists a folder.
    """
    found: dict[str, str] = {}
    for folder, shown in folders:
        for path, name in _below(folder, shown, names, listed, 0):
            if len(found) >= _MOST_FILES:
                return found
            found.setdefault(name, path)
    return found


def _below(
    folder: str, shown: str, names: Names, listed: Callable[[str], Collection[str]], depth: int
) -> Iterator[tuple[str, str]]:
    entries = listed(folder)
    if len(entries) > _MOST_ENTRIES:
        return
    for name in sorted(entries):
        if names.mean(name):
            path, inner = os.path.join(folder, name), f"{shown}{name}"
            stamp = stamp_of(path)
            if stamp is not None and stamp.is_file and not name.endswith(".pyc"):
                yield path, inner
            elif stamp is not None and stamp.is_folder and depth < _DEEPEST and names.mean_folder(name):
                yield from _below(path, inner + "/", names, listed, depth + 1)


def data_digest(path: str) -> str:
    """The digest of a data file; of a very large one, what tells that it was changed."""
    stamp = stamp_of(path)
    if stamp is not None and stamp.size > _LARGEST_FILE_BYTES:
        return f"{stamp.size:x}-{stamp.modified_ns:x}"
    return raw_digest(path) or "absent"
