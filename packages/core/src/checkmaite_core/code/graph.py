"""All first-party code that modules can reach: found without running any of it, and kept until it changes.

First-party is what is no part of Python, no framework that capabilities are written with, and no file of an installed
distribution that is as its ``RECORD`` says. Everything that may be imported counts, whether it will be or not: imports
in functions, names that are texts, and, where a name is computed, all that it could mean beside the module.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from checkmaite_core.code.facts import Facts, facts_of
from checkmaite_core.code.finding import FoundModule, find_module
from checkmaite_core.code.installed import Distribution, is_python_itself, owner_of
from checkmaite_core.code.stamps import Stamp, is_settled, stamp_of
from checkmaite_core.code.walk import FRAMEWORK, Reach, Walk, here

__all__ = ["Look", "is_first_party"]

_MOST_KEPT = 1_000


@dataclass(slots=True)
class _Known:
    """A reach, and what has to be unchanged for it to hold."""

    reach: Reach
    paths: dict[str, Stamp | None]
    is_settled: bool
    distributions: dict[str, Distribution]
    edited: dict[str, tuple[str, ...]]


@dataclass(slots=True)
class _Store:
    """What this process knows; all of it is checked against the disk before it is used."""

    place: object = None
    folders: dict[str, tuple[Stamp | None, int]] = field(default_factory=dict)
    found: dict[str, FoundModule | None] = field(default_factory=dict)
    owners: dict[str, Distribution | None] = field(default_factory=dict)
    listings: dict[str, frozenset[str]] = field(default_factory=dict)
    facts: dict[str, tuple[Stamp, int, Facts]] = field(default_factory=dict)
    reaches: dict[frozenset[str], _Known] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)


_store = _Store()


def is_first_party(name: str) -> bool:
    """Whether a module's code is to be looked at: see above."""
    found = find_module(name)
    return (
        found is not None
        and name.partition(".")[0] not in FRAMEWORK
        and not is_python_itself(found)
        and owner_of(found) is None
    )


class Look:
    """One look at the code: each file and folder is asked for its state once, so all that it says fits together."""

    def __init__(self) -> None:
        self._stamps: dict[str, Stamp | None] = {}
        self._reaches: dict[frozenset[str], Reach] = {}
        self._edited: dict[str, tuple[str, ...]] = {}
        self._checked = False

    def reach(self, modules: Iterable[str]) -> Reach:
        """All that modules can reach.

        Args:
            modules: Their names.
        """
        roots = frozenset(modules)
        known = self._reaches.get(roots)
        if known is None:
            with _store.lock:
                self._check()
                known = self._reaches[roots] = self._reach(roots)
        return known

    def stamp(self, path: str) -> Stamp | None:
        """The state of a file or folder."""
        if path not in self._stamps:
            self._stamps[path] = stamp_of(path)
        return self._stamps[path]

    def _check(self) -> None:
        """Forget what was found in folders that have changed since."""
        if self._checked:
            return
        self._checked = True
        place = (tuple(map(str, sys.path)), tuple(map(id, sys.meta_path)), here())
        same = place == _store.place and all(
            self.stamp(folder) == stamp and is_settled(stamp, read_at)
            for folder, (stamp, read_at) in _store.folders.items()
        )
        if not same:
            for each in (_store.folders, _store.found, _store.owners, _store.listings, _store.reaches):
                each.clear()
            _store.place = place
            # The finders keep listings of their own, by times that tick.
            for finder in list(sys.path_importer_cache.values()):
                getattr(finder, "invalidate_caches", _nothing)()
            for entry in sys.path:
                self.watch(entry or here())

    def watch(self, folder: str) -> None:
        """What is found depends on what is in a folder."""
        if folder not in _store.folders:
            _store.folders[folder] = (self.stamp(folder), time.time_ns())

    def _reach(self, roots: frozenset[str]) -> Reach:
        known = _store.reaches.get(roots)
        if known is not None and self._holds(known):
            return known.reach
        walk = Walk(self)
        reach = walk.reach(roots)
        if len(_store.reaches) >= _MOST_KEPT:
            _store.reaches.clear()
        settled = all(is_settled(stamp, walk.began_at_ns) for stamp in walk.paths.values())
        _store.reaches[roots] = _Known(reach, walk.paths, settled, walk.distributions, walk.edited)
        return reach

    def _holds(self, known: _Known) -> bool:
        if not known.is_settled:
            return False
        seen = self._stamps
        for path, stamp in known.paths.items():
            now = seen[path] if path in seen else self.stamp(path)
            if now != stamp:
                return False
        return all(self.edited(each) == known.edited[name] for name, each in known.distributions.items())

    def edited(self, distribution: Distribution) -> tuple[str, ...]:
        """As :meth:`Distribution.edited`, once."""
        if distribution.record not in self._edited:
            self._edited[distribution.record] = distribution.edited()
        return self._edited[distribution.record]

    # What a walk asks for.

    def find(self, name: str) -> FoundModule | None:
        """As :func:`find_module`; asked once for as long as no folder changes."""
        with _store.lock:
            self._check()
            if name not in _store.found:
                found = _store.found[name] = find_module(name)
                for folder in found.locations if found is not None else ():
                    self.watch(folder)
            return _store.found[name]

    def owner(self, found: FoundModule) -> Distribution | None:
        """As :func:`owner_of`, likewise."""
        known = _store.owners.get(found.name)
        if found.name not in _store.owners or (known is not None and self.stamp(known.record) != known.stamp):
            known = _store.owners[found.name] = owner_of(found)
        return known

    def listed(self, folder: str) -> Collection[str]:
        """What is in a folder."""
        with _store.lock:
            self._check()
            if folder not in _store.listings:
                self.watch(folder)
                try:
                    _store.listings[folder] = frozenset(os.listdir(folder))
                except OSError:
                    _store.listings[folder] = frozenset()
            return _store.listings[folder]

    def facts(self, found: FoundModule) -> Facts | None:
        """What a module's file says; None if it has none, or has gone."""
        path = found.archive or found.origin
        stamp = None if path is None else self.stamp(path)
        if stamp is None or found.origin is None:
            return None
        known = _store.facts.get(found.origin)
        if known is not None and known[0] == stamp and is_settled(stamp, known[1]):
            return known[2]
        read_at = time.time_ns()
        content = found.read()
        if content is None:
            return None
        facts = known[2] if known is not None and known[2].content == content else facts_of(found, content)
        _store.facts[found.origin] = (stamp, read_at, facts)
        return facts


def _nothing() -> None:
    pass
