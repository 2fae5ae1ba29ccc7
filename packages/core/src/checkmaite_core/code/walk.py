"""The walk from module to module that finds all first-party code that can be reached. None of it is run."""

from __future__ import annotations

import hashlib
import os
import pkgutil
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Protocol

from checkmaite_core.code.data import Names, data_digest, data_files
from checkmaite_core.code.digest import Strictness
from checkmaite_core.code.facts import ANYTHING, Facts, Import
from checkmaite_core.code.finding import FoundModule
from checkmaite_core.code.installed import Distribution, is_python_itself, required_by
from checkmaite_core.code.stamps import Stamp

__all__ = ["FRAMEWORK", "Reach", "Sources", "Walk", "absolute", "here"]

FRAMEWORK = frozenset(
    {
        "checkmaite_core",
        "checkmaite_storage",
        "checkmaite_ledger",
        "checkmaite_analytics_store",
        "checkmaite_ray_simple",
        "checkmaite_ray",
        "checkmaite_cli",
        "pydantic",
        "pydantic_core",
        "annotated_types",
        "typing_extensions",
        "typing_inspection",
    }
)
"""What capabilities are written and run with: a new release of these alone makes no other work."""
_FRAMEWORK_DISTRIBUTIONS = frozenset(name.replace("_", "-") for name in FRAMEWORK)

_MOST_CHILDREN = 5_000
_DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?::\w[\w.]*)?")
_RELATIVE = re.compile(r"(\.+)([A-Za-z_][\w.]*)")
_ENTRY_POINTS = frozenset({"entry_points", "iter_entry_points"})

_READS_SOURCE = frozenset({"getsource", "getsourcelines", "findsource", "linecache", "co_firstlineno", "f_lineno"})
_READS_DOCSTRINGS = frozenset({"__doc__", "getdoc", "json_schema", "model_json_schema", "schema_json"})
_READS_ORDER = frozenset({"globals", "vars", "locals", "dir", "__dict__", "getmembers"})
_DOCSTRING_READERS = frozenset(
    {
        *("agents", "click", "docopt", "dspy", "ell", "fastmcp", "fire", "guidance", "instructor", "langchain"),
        *("langchain_core", "llama_index", "lmql", "magentic", "marvin", "mcp", "outlines", "ply", "pydantic_ai"),
        *("smolagents", "typer"),
    }
)
"""Libraries for which a docstring is a part of the program, such as a grammar, a command line, or a prompt."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What modules can reach.

    Attributes:
        modules: Digest by name of each first-party module, sorted.
        raw: The same by their bytes.
        files: Digest of the data files that they name, by how they are shown.
        distributions: Digest of the ``RECORD`` of each installed distribution that they use, by name.
        plugins: The entry points that it looks up.
        unknown: Modules that were asked for and have no code to be found.
        strictness: How the modules were compared.
        digest: Of all of it.
    """

    modules: Mapping[str, str]
    raw: Mapping[str, str]
    files: Mapping[str, str]
    distributions: Mapping[str, str]
    plugins: tuple[str, ...]
    unknown: tuple[str, ...]
    strictness: Strictness
    digest: str


class Sources(Protocol):
    """What a walk asks about files; each answer is the same for as long as the walk lasts."""

    def stamp(self, path: str) -> Stamp | None:
        """The state of a file or folder."""
        ...

    def find(self, name: str) -> FoundModule | None:
        """The module of this name."""
        ...

    def owner(self, found: FoundModule) -> Distribution | None:
        """The installed distribution that a module's file is of, unchanged."""
        ...

    def listed(self, folder: str) -> Collection[str]:
        """What is in a folder."""
        ...

    def facts(self, found: FoundModule) -> Facts | None:
        """What a module's file says; None if it has none, or has gone."""
        ...

    def edited(self, distribution: Distribution) -> tuple[str, ...]:
        """The files of a distribution that are not as it was installed."""
        ...


class Walk:
    """One walk from module to module."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._facts: dict[str, Facts] = {}
        self._seen: dict[str, FoundModule | None] = {}
        self._rest: list[str] = []
        self._plugins: set[str] = set()
        self._folders: dict[str, str] = {}
        self.distributions: dict[str, Distribution] = {}
        self.edited: dict[str, tuple[str, ...]] = {}
        self.paths: dict[str, Stamp | None] = {}
        self.began_at_ns = time.time_ns()

    def reach(self, roots: Collection[str]) -> Reach:
        """Follow the imports of the modules ``roots``, and describe all code and data that they reach."""
        for root in roots:
            self._visit(root)
        self._follow()
        self.distributions = dict(sorted(required_by(self.distributions.values()).items()))
        for each in list(self.distributions.values()):
            self._watch(each.record)
            self.edited[each.name] = self._sources.edited(each)
            for path in self.edited[each.name]:
                self._of_an_edited_file(each, path)
        self._follow()
        unknown = tuple(sorted(root for root in roots if self._is_unknown(root)))
        strictness = self._strictness()
        modules = {name: facts.digest(strictness) for name, facts in sorted(self._facts.items())}
        raw = {name: facts.digest(Strictness.BYTES) for name, facts in sorted(self._facts.items())}
        files = self._data()
        records = {
            name: each.digest for name, each in self.distributions.items() if name not in _FRAMEWORK_DISTRIBUTIONS
        }
        plugins = tuple(sorted(self._plugins))
        parts = [*modules.items(), *(("file " + name, it) for name, it in sorted(files.items())), *records.items()]
        text = "".join(f"{name} {digest}\n" for name, digest in [*parts, *((each, "") for each in plugins)])
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() if text else ""
        return Reach(modules, raw, files, records, plugins, unknown, strictness, digest)

    def _follow(self) -> None:
        while self._rest:
            name = self._rest.pop()
            found, facts = self._seen[name], self._facts[name]
            if found is not None:
                self._follow_imports(name, found, facts)
                self._follow_texts(name, found, facts)

    def _watch(self, path: str) -> None:
        self.paths[path] = self._sources.stamp(path)

    def _visit(self, name: str) -> FoundModule | None:
        """A module, and the packages that it lies in, which are imported before it."""
        parts = name.split(".")
        found = None
        for count in range(1, len(parts) + 1):
            found = self._add(".".join(parts[:count]))
            if found is None:
                break
        return found

    def _add(self, name: str) -> FoundModule | None:
        if name in self._seen:
            return self._seen[name]
        found = self._seen[name] = self._sources.find(name)
        if found is None or self._is_foreign(name, found):
            return found
        if found.kind == "namespace":
            return found
        self._add_file(name, found)
        return found

    def _add_file(self, name: str, found: FoundModule) -> None:
        facts = self._sources.facts(found)
        if facts is None:
            return
        self._facts[name] = facts
        self._rest.append(name)
        self._watch(found.archive or str(found.origin))
        if found.archive is None:
            self._add_folders(name, found)

    def _is_foreign(self, name: str, found: FoundModule) -> bool:
        if name.partition(".")[0] in FRAMEWORK or is_python_itself(found):
            return True
        owner = self._sources.owner(found)
        if owner is not None:
            self.distributions[owner.name] = owner
            self._watch(str(found.origin))
        return owner is not None

    def _is_unknown(self, root: str) -> bool:
        found = self._seen.get(root)
        return found is None or not (root in self._facts or self._is_foreign(root, found) or found.kind == "namespace")

    def _of_an_edited_file(self, owner: Distribution, path: str) -> None:
        """A file that was edited where it is installed counts by what is in it."""
        if owner.name in _FRAMEWORK_DISTRIBUTIONS:
            return
        name = path.partition(".")[0].replace("/", ".").removesuffix(".__init__")
        found = self._sources.find(name)
        if found is not None and found.origin is not None:
            self._seen[name] = found
            self._add_file(name, found)
        self._watch(os.path.join(owner.root, path))

    def _follow_imports(self, name: str, found: FoundModule, facts: Facts) -> None:
        package = name if found.is_package else name.rpartition(".")[0]
        packages: set[str] = set()
        for each in facts.imports:
            base = absolute(each, package)
            target = self._visit(base) if base else None
            if target is None or not target.is_package or not self._is_looked_into(base):
                continue
            packages.add(base)
            for wanted in each.names:
                if wanted == "*":
                    self._visit_children(base, self._texts_of(base) | self._names_of(base))
                elif self._visit(f"{base}.{wanted}") is not None:
                    packages.add(f"{base}.{wanted}")
            packages.update(_parents(base))
        # ``import a`` and then ``a.b.c``: whoever imports a.b, it can be reached.
        for each_package in sorted(packages):
            self._visit_children(each_package, facts.names)
        if facts.lazy and found.is_package:
            self._visit_all(name)

    def _is_looked_into(self, name: str) -> bool:
        found = self._seen.get(name)
        return found is not None and (name in self._facts or found.kind == "namespace")

    def _texts_of(self, name: str) -> frozenset[str]:
        facts = self._facts.get(name)
        return frozenset() if facts is None else facts.texts

    def _names_of(self, name: str) -> frozenset[str]:
        facts = self._facts.get(name)
        return frozenset() if facts is None else facts.names

    def _visit_children(self, package: str, names: Collection[str]) -> None:
        """The modules of a package that some code has the names of; theirs as well."""
        found = self._seen.get(package)
        if found is None or not self._is_looked_into(package):
            return
        for child in self._children(found):
            if child in names and f"{package}.{child}" not in self._seen:
                inner = self._visit(f"{package}.{child}")
                if inner is not None and inner.is_package:
                    self._visit_children(f"{package}.{child}", names)

    def _follow_texts(self, name: str, found: FoundModule, facts: Facts) -> None:
        package = name if found.is_package else name.rpartition(".")[0]
        for text in facts.texts:
            dotted = _DOTTED.fullmatch(text)
            if dotted is not None and ("." in dotted[1] or ":" in text or facts.imports_by_text):
                self._visit(dotted[1])
            elif facts.imports_by_text and (relative := _RELATIVE.fullmatch(text)) is not None:
                base = absolute(Import(len(relative[1]), relative[2]), package)
                if base:
                    self._visit(base)
        for prefix in facts.prefixes:
            if prefix != ANYTHING:
                self._visit_all(prefix.rstrip("."))
            else:
                self._visit_all_beside(name, found)
        if facts.names & _ENTRY_POINTS:
            self._follow_plugins(facts)

    def _follow_plugins(self, facts: Facts) -> None:
        points = (point for each in metadata.distributions() for point in each.entry_points)
        for point in points:
            if point.group in facts.texts:
                self._plugins.add(f"entry point {point.group} {point.name} {point.value}")
                self._visit(point.module)

    def _visit_all_beside(self, name: str, found: FoundModule) -> None:
        """All that a computed name may mean: the modules of the outermost package, or beside a module on its own."""
        top = name.partition(".")[0]
        outermost = self._sources.find(top)
        if outermost is not None and outermost.is_package:
            self._visit_all(top)
        elif found.origin is not None:
            folder = os.path.dirname(found.origin)
            for each in sorted(self._in_folders((folder,))):
                if self._visit(each) is not None:
                    self._visit_all(each)

    def _visit_all(self, package: str) -> None:
        found = self._visit(package)
        rest = [package] if found is not None and self._is_looked_into(package) else []
        count = 0
        while rest and count < _MOST_CHILDREN:
            each = rest.pop()
            inside = self._seen.get(each)
            for child in sorted(self._children(inside)) if inside is not None else ():
                inner = self._visit(f"{each}.{child}")
                count += 1
                if inner is not None and inner.is_package and self._is_looked_into(f"{each}.{child}"):
                    rest.append(f"{each}.{child}")

    def _children(self, package: FoundModule) -> set[str]:
        return self._in_folders(package.locations)

    def _in_folders(self, folders: Collection[str]) -> set[str]:
        names = set()
        for folder in folders:
            entries = self._sources.listed(folder)
            # What may be a package without __init__.py is found to be none, if it is none.
            names |= {stem for entry in entries if (stem := entry.partition(".")[0]).isidentifier()}
            if not entries and not os.path.isdir(folder):
                names |= {each.name for each in pkgutil.iter_modules([folder])}  # in an archive
        return names - {"__pycache__", "__init__", "__main__", "node_modules"}

    def _add_folders(self, name: str, found: FoundModule) -> None:
        """Where the data of a module may lie: its folder and those above it, up to where its package lies."""
        folder = os.path.dirname(str(found.origin))
        depth = name.count(".") + found.is_package
        for above in range(depth + 1):
            shown = ".".join(name.split(".")[: depth - above])
            self._folders.setdefault(folder, f"{shown}:")
            folder = os.path.dirname(folder)

    def _data(self) -> dict[str, str]:
        texts = {text for facts in self._facts.values() for text in facts.texts}
        if not self._facts:
            return {}
        folders = [*sorted(self._folders.items(), key=lambda pair: pair[1])]
        if here() not in self._folders:
            folders.append((here(), "./"))
        paths = data_files(folders, Names(texts), self._sources.listed)
        for path in paths.values():
            self._watch(path)
        return {shown: data_digest(path) for shown, path in paths.items()}

    def _strictness(self) -> Strictness:
        names = {name for facts in self._facts.values() for name in facts.names}
        tops = {each.module.partition(".")[0] for facts in self._facts.values() for each in facts.imports}
        found = Strictness.LOOSE
        if names & _READS_DOCSTRINGS or tops & _DOCSTRING_READERS:
            found |= Strictness.DOCSTRINGS
        if names & _READS_ORDER:
            found |= Strictness.ORDER
        return found | Strictness.BYTES if names & _READS_SOURCE else found


def absolute(each: Import, package: str) -> str:
    """The full name of what is imported from; empty where that lies above every package."""
    if not each.level:
        return each.module
    parts = package.split(".")
    if each.level > len(parts) or not package:
        return ""
    return ".".join([*parts[: len(parts) - each.level + 1], *([each.module] if each.module else [])])


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


def here() -> str:
    """The current folder, also where that has gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"
