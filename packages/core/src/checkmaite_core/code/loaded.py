"""The code of modules as this process runs it: as it was when they were loaded, whatever lies on the disk by now."""

from __future__ import annotations

import importlib.util
import os
import struct
import sys
import threading
from contextlib import suppress
from importlib.machinery import ModuleSpec

from checkmaite_core.code.facts import Facts
from checkmaite_core.code.finding import FoundModule
from checkmaite_core.code.graph import Look

__all__ = ["facts_here", "remember_loaded"]

_HEADER = struct.Struct("<4xIII")
_before_loading: dict[str, Facts | None] = {}
_loaded: dict[str, tuple[ModuleSpec | None, Facts | None]] = {}
"""What this process knows of the modules that it was asked about: their code just before, and since, it has them."""
_lock = threading.Lock()


def facts_here(name: str, look: Look) -> Facts | None:
    """What a module's file said when this process loaded it, or says now if it were to load it now.

    A worker's process runs many jobs, and keeps what it has loaded for the first of them when the file is edited.

    Returns:
        None if there is no such module here, or nothing to compare.
    """
    with _lock:
        loaded = sys.modules.get(name)
        if loaded is None:
            found = look.find(name)
            _before_loading[name] = None if found is None else look.facts(found)
            if found is not None and found.kind == "source" and found.archive is None:
                _drop_stale_bytecode(found)
            return _before_loading[name]
        # A module that is reloaded gets another spec.
        spec: ModuleSpec | None = getattr(loaded, "__spec__", None)
        known = _loaded.get(name)
        if known is None or known[0] is not spec:
            known = _loaded[name] = (spec, _before_loading.pop(name) if name in _before_loading else _now(name, look))
        return known[1]


def remember_loaded(names: set[str], look: Look) -> None:
    """Remember the code of modules that have just been loaded."""
    for name in names:
        facts_here(name, look)


def _now(name: str, look: Look) -> Facts | None:
    found = look.find(name)
    return None if found is None else look.facts(found)


def _drop_stale_bytecode(found: FoundModule) -> None:
    """Python takes bytecode for current if the source has its size and its time in whole seconds.

    So a file that was edited within the second would be loaded as it was before, by a new process too.
    """
    with suppress(OSError, NotImplementedError, ValueError, struct.error):
        source = str(found.origin)
        cached = importlib.util.cache_from_source(source)
        compiled, status = os.stat(cached), os.stat(source)
        if compiled.st_mtime_ns >= status.st_mtime_ns:
            return
        with open(cached, "rb") as file:
            flags, modified, size = _HEADER.unpack(file.read(16))
        if not flags and modified == int(status.st_mtime) & 0xFFFFFFFF and size == status.st_size & 0xFFFFFFFF:
            os.unlink(cached)
