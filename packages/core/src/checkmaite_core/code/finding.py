"""Modules found as the interpreter would find them. Nothing is imported, not even the packages that they lie in.

``importlib.util.find_spec`` imports the parents of what it is asked for, and ``PathFinder.find_spec`` of a namespace
package raises ``KeyError`` unless its parent has been imported.
"""

from __future__ import annotations

import os
import pkgutil
import sys
import zipfile
import zipimport
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import machinery
from importlib.machinery import ModuleSpec
from typing import Any, Literal

__all__ = ["FoundModule", "Kind", "find_module"]

Kind = Literal["source", "bytecode", "extension", "namespace", "builtin"]

_KINDS: tuple[tuple[tuple[str, ...], Kind], ...] = (
    (tuple(machinery.EXTENSION_SUFFIXES), "extension"),
    (tuple(machinery.BYTECODE_SUFFIXES), "bytecode"),
)
_SELF_EXTENDING = (b"extend_path", b"declare_namespace")
"""What the ``__init__.py`` of a package calls that adds the folders of its name elsewhere on the path."""


@dataclass(frozen=True, slots=True)
class FoundModule:
    """Where a module's code is.

    Attributes:
        name: As it is imported.
        kind: What it is made of.
        origin: Its file, which may lie inside an archive; None for a namespace, and for what is built in.
        locations: Of a package, the folders that its modules are looked for in.
        archive: The zip or wheel file that it lies in, if it does.
    """

    name: str
    kind: Kind
    origin: str | None = None
    locations: tuple[str, ...] = ()
    archive: str | None = field(default=None, compare=False)

    @property
    def is_package(self) -> bool:
        """Whether it can have modules of its own."""
        return bool(self.locations)

    def read(self) -> bytes | None:
        """The bytes of its file as it is now; None if there is none, or it has gone."""
        if self.origin is None:
            return None
        try:
            if self.archive is None:
                with open(self.origin, "rb") as file:
                    return file.read()
            # Not by the importer, which keeps the table of contents that it first found.
            with zipfile.ZipFile(self.archive) as archive:
                return archive.read(os.path.relpath(self.origin, self.archive).replace(os.sep, "/"))
        except (OSError, KeyError, zipfile.BadZipFile):
            return None

    def stamp(self) -> tuple[str, int, int] | None:
        """What changes with its file: the path of that (or of the archive), when it was changed (ns), its bytes."""
        path = self.archive or self.origin
        try:
            status = None if path is None else os.stat(path)
        except OSError:
            return None
        return None if status is None or path is None else (path, status.st_mtime_ns, status.st_size)


def find_module(name: str) -> FoundModule | None:
    """Find a module as a fresh ``import`` in this process would, or as it was loaded where that finds none.

    It asks the finders of ``sys.meta_path``, those of editable installations included; regular packages and namespace
    packages with any number of roots, zip and wheel files, bytecode alone and extension modules are found.

    Args:
        name: Its full name. ``__main__`` is what ``python -m`` or the script was given.

    Returns:
        None if there is no such module, or it has no file: a notebook's ``__main__``, a module made by hand.
    """
    if not name or any(not part for part in name.split(".")):
        return None
    if name == "__main__":
        return _loaded(name)
    return _search(name) or _loaded(name)


def _search(name: str) -> FoundModule | None:
    parent = name.rpartition(".")[0]
    if not parent:
        return _of_spec(name, _spec(name, None))
    package = find_module(parent)
    folders = _folders(package) if package is not None else ()
    return _of_spec(name, _spec(name, folders)) if folders else None


def _folders(package: FoundModule) -> list[str]:
    """Where a package's modules are looked for."""
    found = _path_of(sys.modules.get(package.name)) + list(package.locations)
    if package.kind == "source" and any(word in (package.read() or b"") for word in _SELF_EXTENDING):
        folder = package.name.replace(".", os.sep)
        found += [place for entry in sys.path if os.path.isdir(place := os.path.join(entry or os.getcwd(), folder))]
    return list(dict.fromkeys(found))


def _path_of(module: object) -> list[str]:
    try:
        return _texts(getattr(module, "__path__", None))
    except (KeyError, TypeError, AttributeError):
        return []  # a namespace whose parent has been taken out of sys.modules, or a stand-in for a module


def _texts(path: Iterable[object] | None) -> list[str]:
    return [entry for entry in path or () if isinstance(entry, str)]


def _spec(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        if finder is machinery.PathFinder:
            found = _spec_on_path(name, sys.path if path is None else path)
        else:
            found = _asked(finder, name, path)
        if found is not None:
            return found
    return None


def _asked(finder: object, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    ask = getattr(finder, "find_spec", None)
    if ask is None:
        return None
    try:
        found = ask(name, path, None)
    except Exception:  # a foreign finder, asked for what it did not expect, such as the parts of an unloaded namespace
        return None
    return found if isinstance(found, ModuleSpec) else None


def _spec_on_path(name: str, path: Iterable[object]) -> ModuleSpec | None:
    """As ``PathFinder`` finds it, without a look at the parent among what is loaded."""
    portions: list[str] = []
    for entry in path:
        if not isinstance(entry, str):
            continue
        importer = pkgutil.get_importer(entry or os.getcwd())
        found = None if importer is None else _from_entry(importer, name)
        if found is None:
            continue
        if found.loader is not None:
            return found
        portions += found.submodule_search_locations or ()
    if not portions:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def _from_entry(importer: object, name: str) -> ModuleSpec | None:
    ask = getattr(importer, "find_spec", None)
    try:
        found = None if ask is None else ask(name)
    except (ImportError, OSError, ValueError):
        return None
    return found if isinstance(found, ModuleSpec) else None


def _of_spec(name: str, spec: ModuleSpec | None) -> FoundModule | None:
    if spec is None:
        return None
    try:
        locations = tuple(_texts(spec.submodule_search_locations))
    except (KeyError, TypeError):
        locations = ()  # as in _path_of
    if spec.origin in ("built-in", "frozen"):
        return FoundModule(name, "builtin", None, locations)
    if spec.origin is None or not spec.has_location:
        return FoundModule(name, "namespace", None, locations) if locations else None
    # A .pyc alone is found under its own name; the cached one of a source file is not the origin.
    return FoundModule(name, _kind(spec.origin), spec.origin, locations, _archive(spec))


def _kind(path: str) -> Kind:
    return next((kind for suffixes, kind in _KINDS if path.endswith(suffixes)), "source")


def _archive(spec: ModuleSpec) -> str | None:
    loader: object = spec.loader
    if isinstance(loader, zipimport.zipimporter):
        return loader.archive
    # Another loader, such as one that rewrites what an archive holds.
    return next((place for place in _above(spec.origin or "") if os.path.isfile(place)), None)


def _above(path: str) -> Iterator[str]:
    if os.path.exists(path):
        return
    while (folder := os.path.dirname(path)) != path:
        yield folder
        path = folder


def _loaded(name: str) -> FoundModule | None:
    """A module that is loaded, and would not be found again: by what it says of itself."""
    module: Any = sys.modules.get(name)
    spec: Any = getattr(module, "__spec__", None)
    found = _of_spec(name, spec) if isinstance(spec, ModuleSpec) else None
    file: object = getattr(module, "__file__", None)
    if found is not None or not isinstance(file, str) or not os.path.exists(file):
        return found
    return FoundModule(name, _kind(file), os.path.abspath(file), tuple(_path_of(module)))
