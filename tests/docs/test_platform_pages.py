"""The pages for platform teams prove what they say: every check and test that they name is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from code_pages import ROOT, names_in

PAGES = sorted((ROOT / "docs" / "platform").glob("*.md"))
TEST = re.compile(r"`((?:tests|\.ci)/[\w/]+\.py)(?:::([\w:]+))?`")


@pytest.mark.parametrize("path", PAGES, ids=[page.name for page in PAGES])
def test_every_test_that_a_page_names_is_there(path: Path) -> None:
    missing = []
    for file, name in TEST.findall(path.read_text()):
        module = ROOT / file
        if not module.is_file() or (name and name not in set(names_in(module))):
            missing.append(f"{file}::{name}")
    assert missing == []


@pytest.mark.parametrize("path", PAGES, ids=[page.name for page in PAGES])
def test_every_row_that_is_to_be_shown_by_something_is(path: Path) -> None:
    """A table whose last column is headed "shown by" has a test or a command in each row of it."""
    shown = False
    for line in path.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            shown = False
        elif cells[-1] == "shown by":
            shown = True
        elif shown and not set(cells[-1]) <= {"-"}:
            assert TEST.search(cells[-1]) or "`nox -s" in cells[-1], f"{path.name}: {line}"


def test_every_session_that_the_pages_name_is_there() -> None:
    named = {name for page in PAGES for name in re.findall(r"nox -s ([\w-]+)", page.read_text())}
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list]
    sessions = {function.name.replace("_", "-") for function in functions}
    sessions |= {
        str(keyword.value.value)
        for function in functions
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call)
        for keyword in decorator.keywords
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant)
    }
    assert named <= sessions
