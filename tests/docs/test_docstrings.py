"""What the reference is made from: every public thing is described, and the examples work."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import FunctionType, ModuleType

import code_pages
import pytest

PACKAGES = sorted(path.parent.name for path in code_pages.ROOT.glob("packages/*/src/*/py.typed"))
every_package = pytest.mark.parametrize("package", PACKAGES)


def modules_of(package: str) -> list[ModuleType]:
    root = importlib.import_module(package)
    names = [package, *(found.name for found in pkgutil.walk_packages(root.__path__, f"{package}."))]
    return [importlib.import_module(name) for name in names if not name.endswith(".__main__")]


@every_package
def test_the_examples_in_the_docstrings_of_a_package_work(package: str) -> None:
    # Looking for examples touches every object of a module, and some of Ray's do not bear that.
    with_examples = [module for module in modules_of(package) if ">>> " in inspect.getsource(module)]
    results = {module.__name__: doctest.testmod(module, optionflags=doctest.ELLIPSIS) for module in with_examples}
    assert {name: result for name, result in results.items() if result.failed} == {}


@every_package
def test_everything_public_is_described(package: str) -> None:
    bare = {
        f"{module.__name__}.{name}"
        for module in modules_of(package)
        for exported in getattr(module, "__all__", ())
        for name, value in _with_members(exported, getattr(module, exported))
        if not inspect.getdoc(value)
    }
    assert bare == set()


def _with_members(name: str, value: object) -> list[tuple[str, object]]:
    """A function or class, with the public methods and properties that the class itself defines.

    Not the tests of the conformance suites, whose names describe them.
    """
    if inspect.isfunction(value):
        return [(name, value)]
    if not inspect.isclass(value):
        return []
    # Asked of the class, getdoc() also finds what a method inherits.
    members = [
        (f"{name}.{member}", getattr(value, member))
        for member, defined in vars(value).items()
        if not member.startswith(("_", "test_"))
        and isinstance(defined, property | staticmethod | classmethod | FunctionType)
    ]
    return [(name, value), *members]
