"""The code of one module as a digest, to tell whether client and worker have the same. Nothing is imported."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import sys
import tokenize
from importlib.machinery import ModuleSpec
from pathlib import Path

from checkmaite_core.code.finding import find_module

__all__ = ["code_here", "code_of"]

_LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING)
_before_loading: dict[str, str | None] = {}
_loaded: dict[str, tuple[ModuleSpec | None, str | None]] = {}
"""What this process knows of the modules that it was asked about: their code just before, and since, it has them."""


def code_of(module: str) -> str | None:
    """A digest of a module's code as it lies on the disk, whatever its comments, line ends and blank lines.

    Returns:
        None if it has no source file, or is a part of Python itself, which may differ by a patch.
    """
    if module == "__main__" or module.partition(".")[0] in sys.stdlib_module_names:
        return None
    path = _file_of(module)
    try:
        status = None if path is None else os.stat(path)
    except OSError:
        return None  # it has gone since it was imported: there is nothing to compare
    return None if path is None or status is None else _digest_of_file(path, status.st_mtime_ns, status.st_size)


def code_here(module: str) -> str | None:
    """A digest of a module's code as this process runs it, or would if it were to load it now.

    A worker's process runs many jobs, and keeps what it has loaded for the first of them when the file is edited.
    """
    loaded = sys.modules.get(module)
    if loaded is None:
        _before_loading[module] = code_of(module)
        return _before_loading[module]
    # A module that is reloaded gets another spec.
    spec: ModuleSpec | None = getattr(loaded, "__spec__", None)
    known = _loaded.get(module)
    if known is None or known[0] is not spec:
        known = spec, _before_loading.pop(module) if module in _before_loading else code_of(module)
        _loaded[module] = known
    return known[1]


def _file_of(module: str) -> str | None:
    found = find_module(module)
    return None if found is None or found.kind != "source" or found.archive is not None else found.origin


@functools.lru_cache(maxsize=1000)
def _digest_of_file(path: str, changed_at: int, size: int) -> str:
    """Read again only if it has changed."""
    text = Path(path).read_bytes().replace(b"\r\n", b"\n")
    try:
        found = tokenize.tokenize(io.BytesIO(text).readline)
        # The last line may lack its end.
        tokens = [(one.type, "" if one.type == tokenize.NEWLINE else one.string) for one in found]
    except (tokenize.TokenError, SyntaxError, ValueError):
        content = text  # no Python; as it stands
    else:
        content = repr([one for one in tokens if one[0] not in _LAYOUT]).encode()
    return hashlib.sha256(content).hexdigest()[:16]
