"""Installed distributions: which one a file belongs to, and whether its files are as its ``RECORD`` says."""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import os
import re
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import machinery

from checkmaite_core.code.finding import FoundModule
from checkmaite_core.code.stamps import Stamp, stamp_of

__all__ = ["Distribution", "Site", "is_python_itself", "owner_of", "required_by"]

_SUFFIXES = tuple(machinery.SOURCE_SUFFIXES + machinery.EXTENSION_SUFFIXES)
_NAME = re.compile(r"[\w.-]+")
_CHECKED_AT_ONCE = 40
"""Files of one distribution that are looked at each time; of a larger one that many in turn."""
_SMALL_BYTES = 2_000_000
"""Of a larger distribution only those files are read that were changed since its RECORD was written."""


@dataclass(slots=True)
class Distribution:
    """One installed distribution.

    Attributes:
        name: Normalized.
        root: The folder that it is installed in.
        record: Its ``RECORD``.
        digest: Of what that lists.
        files: Digest and size by path of its code, relative to the root.
        requires: Names of the distributions that it needs without any extra.
    """

    name: str
    root: str
    record: str
    stamp: Stamp
    digest: str
    files: dict[str, tuple[str, int]]
    requires: tuple[str, ...]
    _edited: dict[str, None] = field(default_factory=dict)
    _order: list[str] = field(default_factory=list)
    _next: int = 0
    _seen: dict[str, tuple[Stamp | None, bool]] = field(default_factory=dict)
    _bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self._bytes = sum(size for _, size in self.files.values())

    def edited(self) -> tuple[str, ...]:
        """Paths of files that are not as the ``RECORD`` says, sorted: what was edited where it is installed.

        All are looked at the first time. Later, of a large one some in each call.
        """
        if not self._order:
            self._order = sorted(self.files)
            turn = self._order
        else:
            count = min(_CHECKED_AT_ONCE, len(self._order))
            turn = [self._order[(self._next + step) % len(self._order)] for step in range(count)]
            self._next = (self._next + count) % max(1, len(self._order))
        for path in dict.fromkeys([*turn, *self._edited]):
            if self._as_recorded(path):
                self._edited.pop(path, None)
            else:
                self._edited[path] = None
        return tuple(sorted(self._edited))

    @property
    def _is_small(self) -> bool:
        return self._bytes <= _SMALL_BYTES

    def _as_recorded(self, path: str) -> bool:
        place = f"{self.root}/{path}"
        now = stamp_of(place)
        known = self._seen.get(path)
        if known is not None and known[0] == now and known[1]:
            return True
        digest, size = self.files[path]
        # Installers write the RECORD last. One that gives all files one time makes every file be read, once.
        same = now is not None and now.size == size
        late = now is not None and now.modified_ns >= self.stamp.modified_ns
        if same and (late or known is not None or self._is_small):
            same = _urlsafe_digest(place) == digest
        self._seen[path] = (now, same)
        return same


def _urlsafe_digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return ""
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode()


class Site:
    """A folder that distributions are installed in."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._stamp = stamp_of(root)
        self._by_top: dict[str, list[str]] = {}
        self._records: dict[str, str] = {}
        self._known: dict[str, Distribution] = {}
        for entry in _entries(root):
            if entry.endswith(".dist-info"):
                record = os.path.join(root, entry, "RECORD")
                self._records[_normalized(entry.removesuffix(".dist-info").rpartition("-")[0])] = record
                for top in _tops(record):
                    self._by_top.setdefault(top, []).append(record)

    @property
    def is_current(self) -> bool:
        """Whether nothing was installed or removed since."""
        return stamp_of(self._root) == self._stamp

    def owner(self, path: str) -> Distribution | None:
        """The distribution that lists a file, given relative to the folder."""
        for record in self._by_top.get(path.partition("/")[0], ()):
            found = self._distribution(record)
            if found is not None and path in found.files:
                return found
        return None

    def named(self, name: str) -> Distribution | None:
        """The distribution of a normalized name."""
        record = self._records.get(name)
        return None if record is None else self._distribution(record)

    def _distribution(self, record: str) -> Distribution | None:
        stamp = stamp_of(record)
        known = self._known.get(record)
        if stamp is None:
            return None
        if known is None or known.stamp != stamp:
            known = _read(self._root, record, stamp)
            self._known[record] = known
        return known


def _entries(root: str) -> list[str]:
    try:
        return sorted(os.listdir(root))
    except OSError:
        return []


def _tops(record: str) -> set[str]:
    return {line.partition(",")[0].partition("/")[0].strip('"') for line in _lines(record)}


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _read(root: str, record: str, stamp: Stamp) -> Distribution:
    listed: list[str] = []
    files: dict[str, tuple[str, int]] = {}
    for path, digest, size, *_ in (row for row in csv.reader(_lines(record)) if len(row) >= 3):
        # Without what installers make on this machine: scripts, bytecode, their own notes.
        if not digest or path.startswith((".", "/")) or ".dist-info/" in path:
            continue
        listed.append(f"{path},{digest}")
        if path.endswith(_SUFFIXES) and digest.startswith("sha256="):
            files[path] = (digest.removeprefix("sha256="), int(size) if size.isdigit() else -1)
    folder = os.path.dirname(record)
    name = _normalized(os.path.basename(folder).removesuffix(".dist-info").rpartition("-")[0])
    total = hashlib.sha256("\n".join(sorted(listed)).encode("utf-8", "surrogateescape")).hexdigest()
    return Distribution(name, root, record, stamp, total, files, tuple(_requires(os.path.join(folder, "METADATA"))))


def _requires(metadata: str) -> Iterator[str]:
    for line in _lines(metadata):
        if not line.strip():
            return  # the description follows
        if line.startswith("Requires-Dist:") and "extra ==" not in line and "extra==" not in line:
            found = _NAME.match(line.removeprefix("Requires-Dist:").strip())
            if found:
                yield _normalized(found[0])


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


_sites: dict[str, Site] = {}
_lock = threading.RLock()


def _site(root: str) -> Site:
    with _lock:
        known = _sites.get(root)
        if known is None or not known.is_current:
            known = _sites[root] = Site(root)
        return known


def _path() -> Iterator[str]:
    return (entry or os.getcwd() for entry in sys.path)


def owner_of(found: FoundModule) -> Distribution | None:
    """The installed distribution that lists a module's file; None for editable ones, loose files and archives."""
    if found.origin is None or found.archive is not None:
        return None
    for entry in _path():
        if found.origin.startswith(prefix := entry.rstrip(os.sep) + os.sep):
            owner = _site(entry).owner(found.origin[len(prefix) :].replace(os.sep, "/"))
            if owner is not None:
                return owner
    return None


def required_by(distributions: Iterable[Distribution]) -> dict[str, Distribution]:
    """These, and all that they need, by name; what is not installed is left out."""
    found = {each.name: each for each in distributions}
    rest = list(found.values())
    while rest:
        for name in rest.pop().requires:
            if name not in found:
                each = next((each for entry in _path() if (each := _site(entry).named(name))), None)
                if each is not None:
                    found[name] = each
                    rest.append(each)
    return found


@functools.cache
def _own_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({os.path.join(place, "") for key in ("stdlib", "platstdlib") for place in (paths[key],)})


def is_python_itself(found: FoundModule) -> bool:
    """Whether a module is a part of Python, by where it lies: a file may have the name of one."""
    if found.kind == "builtin":
        return True
    origin = found.origin or next(iter(found.locations), "")
    inside = any(origin.startswith(folder) for folder in _own_folders())
    return inside and "site-packages" not in origin and "dist-packages" not in origin
