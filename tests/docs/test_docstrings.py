"""The examples in docstrings, which the reference shows, work too."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import code_pages
import pytest

MODULES = sorted(path.parent.name for path in code_pages.ROOT.glob("packages/*/src/*/py.typed"))


@pytest.mark.parametrize("package", MODULES)
def test_the_examples_in_the_docstrings_of_a_package_work(package: str) -> None:
    root = importlib.import_module(package)
    names = [package, *(found.name for found in pkgutil.walk_packages(root.__path__, f"{package}."))]
    for name in names:
        if not name.endswith(".__main__"):
            failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
            assert failed == 0, name
