"""What a function that travels with the work, because a notebook or script defines it, needs of its surroundings."""

from __future__ import annotations

import dis
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType

from checkmaite_core.code.data import Names, data_digest, data_files
from checkmaite_core.code.digest import names_and_texts
from checkmaite_core.code.facts import IMPORTERS, imports_of_code
from checkmaite_core.code.graph import Look
from checkmaite_core.code.walk import absolute

__all__ = ["Surroundings", "surroundings_of", "travels_by_value"]

_UNSEEN = frozenset({"eval", "exec", "globals", "entry_points", "iter_entry_points"})
_LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_PICKLERS = ("ray.cloudpickle.cloudpickle", "cloudpickle.cloudpickle")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a function imports and names.

    Attributes:
        modules: Names of modules that it imports, or has as attributes of packages.
        files: Digests of the data files that it names, by how they are shown.
        uncertain: Why that cannot be told.
    """

    modules: frozenset[str]
    files: dict[str, str]
    uncertain: str | None = None


def surroundings_of(function: FunctionType, look: Look) -> Surroundings:
    """What a function imports and names, its inner functions included; what it has as values is not looked at."""
    code = function.__code__
    names, texts = names_and_texts(code)
    loaded = set(_global_names(code))
    hidden = sorted(loaded & _UNSEEN)
    importers = sorted(names & IMPORTERS)
    if hidden or (importers and not _names_modules(texts, look)):
        what = (hidden or importers)[0]
        return Surroundings(frozenset(), {}, f"{function.__qualname__}() uses {what}(), so it may run any code")
    modules: set[str] = set()
    package = function.__globals__.get("__package__") or ""
    for each in imports_of_code(code):
        base = absolute(each, package)
        candidates = [base, *(f"{base}.{name}" for name in each.names)]
        modules.update(name for name in candidates if name and look.find(name) is not None)
    if importers:
        modules.update(text for text in texts if text.isidentifier() or "." in text if _is_module(text, look))
    modules.update(_submodules(function, loaded, names))
    paths = data_files([(_cwd(), "./")], Names(texts), look.listed)
    return Surroundings(frozenset(modules), {shown: data_digest(path) for shown, path in paths.items()})


def _names_modules(texts: set[str], look: Look) -> bool:
    return any(_is_module(text, look) for text in texts)


def _is_module(text: str, look: Look) -> bool:
    parts = text.split(".")
    return all(part.isidentifier() for part in parts) and look.find(text) is not None


def _global_names(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in _LOADS:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def _submodules(function: FunctionType, loaded: set[str], names: set[str]) -> Iterator[str]:
    """``import a.b`` at the top of a notebook binds ``a`` alone; what it uses of it is a.b."""
    values = [function.__globals__.get(name) for name in loaded]
    packages = [each.__name__ for each in values if isinstance(each, ModuleType) and hasattr(each, "__path__")]
    for package in packages:
        beginning = f"{package}."
        for name in [name for name in sys.modules if name.startswith(beginning)]:
            if names.issuperset(name.removeprefix(beginning).split(".")):
                yield name


def travels_by_value(module: str) -> bool:
    """Whether a pickler was told to send what a module holds, in place of its name."""
    parents = [module.rsplit(".", count)[0] for count in range(module.count(".") + 1)]
    for pickler in _PICKLERS:
        registered = getattr(sys.modules.get(pickler), "_PICKLE_BY_VALUE_MODULES", ())
        if any(name in registered for name in parents):
            return True
    return False


def _cwd() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"
