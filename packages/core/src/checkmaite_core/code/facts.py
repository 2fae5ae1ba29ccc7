"""What one module's file says: what it imports, what names and texts it has, its digest."""

from __future__ import annotations

import ast
import dis
import marshal
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType

from checkmaite_core.code.digest import (
    Strictness,
    digest_of_module,
    digest_of_tree,
    names_and_texts,
    without_docstrings,
)
from checkmaite_core.code.finding import FoundModule, Kind

__all__ = ["ANYTHING", "IMPORTERS", "Facts", "Import", "facts_of", "imports_of_code"]

ANYTHING = ""
"""A prefix that every module's name has."""
_LONGEST_TEXT = 255
_PYC_HEADER_BYTES = 16
IMPORTERS = frozenset(
    {
        "import_module",
        "__import__",
        "_gcd_import",
        "import_string",
        "locate",
        "resolve_name",
        "find_spec",
        "spec_from_file_location",
        "exec_module",
        "load_module",
        "run_module",
        "run_path",
        "iter_modules",
        "walk_packages",
    }
)
"""Functions that find modules by a text, which may be computed."""
_PREFIX = re.compile(r"((?:\w+\.)+)")


@dataclass(frozen=True, slots=True)
class Import:
    """One import: ``from <level dots><module> import <names>``; no names for ``import <module>``."""

    level: int
    module: str
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Facts:
    """What a module's file says.

    Attributes:
        content: Its bytes.
        kind: What it is made of.
        imports: All of them, wherever they stand.
        names: What it refers to by name.
        texts: Its constant texts, without long ones.
        prefixes: Where it imports by computed names: what these begin with, as far as that is known.
        lazy: Whether it finds what it holds only when asked for (PEP 562).
    """

    content: bytes
    kind: Kind
    imports: tuple[Import, ...] = ()
    names: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    lazy: bool = False
    _digests: dict[Strictness, str] = field(default_factory=dict)

    @property
    def imports_by_text(self) -> bool:
        """Whether a text in it may be the name of a module."""
        return bool(self.names & IMPORTERS)

    def digest(self, strictness: Strictness) -> str:
        """Its digest, compared as strictly as this; bytecode and extensions always by their bytes."""
        if self.kind != "source":
            strictness = Strictness.BYTES
        if strictness not in self._digests:
            self._digests[strictness] = digest_of_module(self.content, strictness)
        return self._digests[strictness]


def facts_of(found: FoundModule, content: bytes) -> Facts:
    """Read a module's file."""
    facts = Facts(content, found.kind)
    try:
        if found.kind == "bytecode":
            code: object = marshal.loads(content[_PYC_HEADER_BYTES:])  # noqa: S302 - what an import would load
            if isinstance(code, CodeType):
                facts.imports = tuple(imports_of_code(code))
                _add_names(facts, code)
                facts.prefixes = (ANYTHING,) if facts.imports_by_text else ()
        elif found.kind == "source":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the user's code; said when it is imported
                tree = ast.parse(content)
                without_docstrings(tree)  # each would count as a use of __doc__
                _add_names(facts, compile(tree, "", "exec", dont_inherit=True))
                facts.imports = tuple(_imports(tree))
                facts.prefixes = tuple(sorted(set(_prefixes(tree)))) if facts.imports_by_text else ()
                # By far the most are compared like this: it saves parsing them again.
                facts._digests[Strictness.LOOSE] = digest_of_tree(tree, Strictness.LOOSE)
    except (SyntaxError, ValueError, EOFError, TypeError, RecursionError, MemoryError):
        pass  # no Python; as it stands
    return facts


def _add_names(facts: Facts, code: CodeType) -> None:
    names, texts = names_and_texts(code)
    facts.names = frozenset(names)
    facts.texts = frozenset(text for text in texts if len(text) <= _LONGEST_TEXT and "\n" not in text)
    facts.lazy = "__getattr__" in code.co_names  # bound by the module itself


def imports_of_code(code: CodeType) -> Iterator[Import]:
    """The imports in compiled code."""
    before: list[object] = [None, None]
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            level, names = before
            wanted = names if isinstance(names, tuple) else ()
            yield Import(level if isinstance(level, int) else 0, instruction.argval, wanted)
        before = [before[1], instruction.argval]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from imports_of_code(constant)


def _imports(tree: ast.Module) -> Iterator[Import]:
    rest: list[ast.AST] = list(tree.body)
    while rest:
        node = rest.pop()
        if isinstance(node, ast.Import):
            yield from (Import(0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield Import(node.level, node.module or "", tuple(alias.name for alias in node.names))
        else:
            for part in ("body", "orelse", "finalbody", "handlers", "cases"):
                inner = getattr(node, part, ())
                if isinstance(inner, list):
                    rest.extend(inner)


def _prefixes(tree: ast.Module) -> Iterator[str]:
    """What the names begin with that are computed for a function that finds modules."""
    called: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_importer(node.func):
            called.add(id(node.func))
            first = node.args[0] if node.args else next((each.value for each in node.keywords), None)
            if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
                yield _beginning(first)
        elif isinstance(node, ast.Name | ast.Attribute) and _is_importer(node) and id(node) not in called:
            yield ANYTHING  # given another name, or handed on
    # ``from importlib import import_module as load``: met under the other name.
    for each in _imports(tree):
        if set(each.names) & IMPORTERS and _renamed(tree):
            yield ANYTHING


def _renamed(tree: ast.Module) -> bool:
    return any(
        alias.name in IMPORTERS and alias.asname not in (None, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    )


def _is_importer(node: ast.expr) -> bool:
    return (node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")) in IMPORTERS


def _beginning(node: ast.expr | None) -> str:
    """The packages that a computed name begins with; ANYTHING if that is not known."""
    while True:
        if isinstance(node, ast.JoinedStr) and node.values:
            node = node.values[0]
        elif isinstance(node, ast.BinOp):
            node = node.left
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            node = node.func.value
        else:
            break
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    found = _PREFIX.match(text)
    return found[1] if found else ANYTHING
