"""The walkthrough notebook does what it shows, each of its kernels in a fresh process.

Jupyter is not needed: a kernel here is a Python process that executes the cells one after the other in ``__main__``,
as a kernel does. A cell with the tag ``fresh-kernel`` begins a new one, in the same folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import code_pages
import pytest

NOTEBOOK = code_pages.ROOT / "docs" / "walkthrough.ipynb"
KERNEL = """
import contextlib, io, json, sys
for cell in json.load(sys.stdin):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("".join(cell["source"]), f"<{cell['id']}>", "exec"), globals())
    print(json.dumps([cell["id"], printed.getvalue()]))
"""


def read() -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text())["cells"]
    return cells


def kernels() -> list[list[dict[str, Any]]]:
    """The code cells of each kernel."""
    found: list[list[dict[str, Any]]] = []
    for cell in read():
        if cell["cell_type"] == "code":
            if "fresh-kernel" in cell["metadata"].get("tags", ()):
                found.append([])
            found[-1].append(cell)
    return found


def run_kernel(cells: list[dict[str, Any]], folder: Path, home: Path) -> dict[str, str]:
    """What each cell prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        [sys.executable, "-c", KERNEL],
        cwd=folder,
        env={"HOME": str(home), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"},
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    return dict(json.loads(line) for line in result.stdout.splitlines())


@pytest.mark.timeout(240)
def test_every_cell_prints_what_stands_below_it(tmp_path: Path) -> None:
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    assert len(kernels()) == 3
    for cells in kernels():
        shown = {cell["id"]: "".join("".join(output["text"]) for output in cell["outputs"]) for cell in cells}
        assert run_kernel(cells, work, home) == shown


def test_it_is_a_notebook_that_every_jupyter_opens() -> None:
    document = json.loads(NOTEBOOK.read_text())
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert document["metadata"]["kernelspec"]["language"] == "python"
    ids = [cell["id"] for cell in document["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in document["cells"]:
        fields = {"cell_type", "id", "metadata", "source"}
        assert set(cell) == (fields if cell["cell_type"] == "markdown" else fields | {"execution_count", "outputs"})
        for output in cell.get("outputs", ()):
            assert set(output) == {"name", "output_type", "text"}


def test_it_needs_no_execution_count_or_output_that_changes_with_every_run() -> None:
    assert all(cell.get("execution_count") is None for cell in read())
