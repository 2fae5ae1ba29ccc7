"""Digests of a module's code: equal for files that do the same, whatever their comments, layout and docstrings.

A digest is made from what Python compiles the file to, without line numbers. Whether docstrings and the order of
independent definitions may be left out is for the code around it to say: some reads ``__doc__``, some lists what a
module holds.
"""

from __future__ import annotations

import ast
import enum
import hashlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from types import CodeType

__all__ = [
    "Strictness",
    "digest_of_code",
    "digest_of_module",
    "digest_of_tree",
    "names_and_texts",
    "without_docstrings",
]


class Strictness(enum.IntFlag):
    """What counts beside what the statements do."""

    LOOSE = 0
    DOCSTRINGS = 1
    ORDER = 2
    BYTES = 4


_LENGTH = 16
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def digest_of_module(content: bytes, strictness: Strictness) -> str:
    """The digest of a source file's bytes."""
    if not strictness & Strictness.BYTES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the user's code; said when it is imported
                tree = ast.parse(content)
                if not strictness & Strictness.DOCSTRINGS:
                    without_docstrings(tree)
                return digest_of_tree(tree, strictness)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass  # no Python; as it stands
    # Git may write either end of line.
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()[:_LENGTH]


def digest_of_tree(tree: ast.Module, strictness: Strictness) -> str:
    """The digest of a parsed file, which is changed by this; its docstrings are out of it already if they are to be."""
    if not strictness & Strictness.ORDER:
        tree.body = list(_in_one_order(tree.body))
    _on_one_line(tree)
    return digest_of_code(compile(tree, "", "exec", dont_inherit=True))


def digest_of_code(code: CodeType) -> str:
    """The digest of compiled code, wherever it was compiled from."""
    found = hashlib.sha256()
    _add(found, code)
    return found.hexdigest()[:_LENGTH]


def _add(found: hashlib._Hash, code: CodeType) -> None:
    facts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_name)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    found.update(repr((facts, names)).encode("utf-8", "surrogatepass"))
    found.update(code.co_code)
    found.update(code.co_exceptiontable)
    for constant in code.co_consts:
        _add_constant(found, constant)
    found.update(b"end")


def _add_constant(found: hashlib._Hash, constant: object) -> None:
    if isinstance(constant, CodeType):
        _add(found, constant)
    elif isinstance(constant, tuple):
        found.update(b"(")
        for each in constant:
            _add_constant(found, each)
        found.update(b")")
    elif isinstance(constant, frozenset):
        # Its order differs between processes.
        found.update(f"set {sorted((type(each).__name__, repr(each)) for each in constant)}".encode())
    else:
        found.update(f"{type(constant).__name__} {constant!r};".encode("utf-8", "backslashreplace"))


def names_and_texts(code: CodeType) -> tuple[set[str], set[str]]:
    """The names that code uses (globals, attributes, arguments), and the texts among its constants."""
    names: set[str] = set()
    texts: set[str] = set()
    rest: list[object] = [code]
    while rest:
        each = rest.pop()
        if isinstance(each, CodeType):
            names.update(each.co_names, each.co_varnames, each.co_freevars)
            rest.extend(each.co_consts)
        elif isinstance(each, str):
            texts.add(each)
        elif isinstance(each, tuple | frozenset):
            rest.extend(each)
    return names, texts


def without_docstrings(tree: ast.Module) -> None:
    """Take out every text that stands alone: the docstrings of modules, classes, functions and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | _Definition):
            kept = [each for each in node.body if not _is_bare_text(each)]
            node.body = kept or ([] if isinstance(node, ast.Module) else [ast.Pass(lineno=1, col_offset=0)])


def _on_one_line(tree: ast.Module) -> None:
    """Python keeps instructions that do nothing for the sake of line numbers."""
    for node in ast.walk(tree):
        if "lineno" in node._attributes:
            node.lineno = node.end_lineno = 1  # type: ignore[attr-defined]
            node.col_offset = node.end_col_offset = 0  # type: ignore[attr-defined]


def _is_bare_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _in_one_order(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements, with each run of definitions that do not need each other sorted, and each of Python's modules."""
    run: list[tuple[str, ast.stmt]] = []
    bound: set[str] = set()
    used: set[str] = set()
    for node in [*body, None]:
        key, binds, uses = _movable(node) if node is not None else ("", set(), set())
        if run and (not key or binds & (bound | used) or uses & bound or run[0][0][0] != key[0]):
            yield from (each for _, each in sorted(run, key=lambda pair: pair[0]))
            run, bound, used = [], set(), set()
        if not key and node is not None:
            yield node
        elif node is not None:
            run.append((key, node))
            bound |= binds
            used |= uses


def _movable(node: ast.stmt) -> tuple[str, set[str], set[str]]:
    """A key to sort a statement by, the names that it binds, and those that it needs at once; no key if it must stay.

    What runs code of others when it is met (a decorator, a base class, a call) stays where it is.
    """
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        own = all(name.partition(".")[0] in sys.stdlib_module_names and name != "__future__" for name in modules)
        starred = any(alias.name == "*" for alias in node.names)
        if not own or starred or (isinstance(node, ast.ImportFrom) and node.level):
            return "", set(), set()
        node.names.sort(key=lambda alias: (alias.name, alias.asname or ""))
        return "i" + ast.unparse(node), {alias.asname or alias.name.partition(".")[0] for alias in node.names}, set()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return ("d" + node.name, {node.name}, _needed(node)) if _is_inert(node) else ("", set(), set())
    if isinstance(node, ast.ClassDef):
        inert = not (node.bases or node.keywords or node.decorator_list) and all(map(_is_inert, node.body))
        needed = {name for each in node.body for name in _needed(each)}
        return ("d" + node.name, {node.name}, needed) if inert else ("", set(), set())
    return "", set(), set()


def _is_inert(node: ast.stmt) -> bool:
    """Whether meeting a statement runs nobody else's code."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return not node.decorator_list and all(map(_is_simple, _evaluated(node)))
    if isinstance(node, ast.Assign):
        return all(isinstance(each, ast.Name) for each in node.targets) and _is_simple(node.value)
    return isinstance(node, ast.Pass) or _is_bare_text(node)


def _evaluated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr]:
    """What is evaluated where a function is defined: defaults and annotations."""
    arguments = node.args
    yield from arguments.defaults
    yield from (each for each in arguments.kw_defaults if each is not None)
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    yield from (each.annotation for each in every if each is not None and each.annotation is not None)
    if node.returns is not None:
        yield node.returns


def _is_simple(node: ast.expr) -> bool:
    return not any(isinstance(each, ast.Call | ast.Await | ast.Yield | ast.NamedExpr) for each in ast.walk(node))


def _needed(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        parts: list[ast.AST] = list(_evaluated(node))
    else:
        parts = [node]
    return {each.id for part in parts for each in ast.walk(part) if isinstance(each, ast.Name)}
