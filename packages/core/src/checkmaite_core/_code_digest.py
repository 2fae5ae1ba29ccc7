"""Digests of the code that a module's name stands for. Nothing is imported and nothing is pickled."""

from __future__ import annotations

import csv
import functools
import hashlib
import os
import sys
from collections.abc import Iterator
from importlib import machinery, metadata
from pathlib import Path

from checkmaite_core.deployment import distribution_of

__all__ = ["code_of_module", "files_of_module"]

_FRAMEWORK = frozenset({"checkmaite_core", "pydantic", "pydantic_core", "annotated_types", "typing_extensions"})
"""What capabilities are written with: a new release of these alone makes no other work."""
_SUFFIXES = tuple(machinery.SOURCE_SUFFIXES + machinery.EXTENSION_SUFFIXES)


def code_of_module(module: str) -> str | None:
    """A text that is equal for equal code; None where there is none to be found.

    Python's own modules and what capabilities are written with count as one. An installed package is known by the
    hashes in its distribution's ``RECORD``, any other by the texts of its outermost package.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in _FRAMEWORK:
        return ""
    distribution = distribution_of(top)
    recorded = _recorded(distribution, top) if distribution is not None else None
    return recorded or _of_files(module)


@functools.cache
def _recorded(distribution: str, top: str) -> str | None:
    """The digest of an installed distribution's files; None if they do not hold the module, as in an editable one."""
    rows = csv.reader((metadata.distribution(distribution).read_text("RECORD") or "").splitlines())
    # Without what installers make on this machine: scripts, bytecode, their own notes.
    hashes = sorted(
        f"{path},{digest}"
        for path, digest, *_ in rows
        if digest and not path.startswith((".", "/")) and ".dist-info/" not in path
    )
    if not any(line.startswith((f"{top}/", f"{top}.")) for line in hashes):
        return None
    return f"{distribution} {hashlib.sha256(chr(10).join(hashes).encode()).hexdigest()}"


def _of_files(module: str) -> str | None:
    files = files_of_module(module)
    if files is None:
        return None
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in files.items()).encode()).hexdigest()


def files_of_module(module: str) -> dict[str, str] | None:
    """Digests by name of the files of the outermost package that has one, sorted, or of the module's own file.

    None if it has none, or has not been imported.
    """
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        found = sys.modules.get(".".join(parts[:count]))
        file = getattr(found, "__file__", None)
        if file is not None:
            folder = Path(file).parent if getattr(found, "__path__", None) else None
            files = sorted(_files_in(folder)) if folder else [(Path(file).name, file)]
            return {name: _of_file(path, (status := os.stat(path)).st_mtime_ns, status.st_size) for name, path in files}
    return None


def _files_in(folder: Path) -> Iterator[tuple[str, str]]:
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        for name in files:
            if name.endswith(_SUFFIXES):
                path = os.path.join(here, name)
                yield Path(path).relative_to(folder).as_posix(), path


@functools.lru_cache(maxsize=10_000)
def _of_file(path: str, changed_at: int, size: int) -> str:
    """The digest of a file, read again only if it has changed."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
