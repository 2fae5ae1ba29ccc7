"""Every code block that a user can read is executed.

A page's blocks become one script, line for line where they stand on the page, that runs in a fresh process with an
empty folder and an empty home. A block is treated otherwise only if the line above it says so, in an HTML comment:

``<!-- output -->``                 the block is what the block before it prints; ``...`` stands for anything
``<!-- fails here: ERROR: why -->`` it is run, and must end with this error, because what it needs is not here
``<!-- run by: FILE -->``           that file, elsewhere in the repository, runs it
``<!-- not run: why -->``           it is checked only: its syntax, and that the distributions it installs exist

The last three are printed and counted at the end.
"""

from __future__ import annotations

import ast
import doctest
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
EXACT_UP_TO_DOTS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
RUN = ("python", "bash")
SHOWN = ("text", "toml", "yaml", "json", "sql", "dockerfile")
"""Languages of blocks that are executed, and of those that are only there to be read."""

_FENCE = re.compile(r"( *)(```+|~~~+) *([\w.{}-]*)(.*)")
_MARKER = re.compile(r"\s*<!-- (output|fails here|run by|not run)(?:: (.+?))? -->")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: The page's path from the root.
        line: Number of the line that opens the fence, from 1.
        language: The word after the fence.
        source: What stands between the fences, without common indentation.
        marker: ``output``, ``fails here``, ``run by``, ``not run`` or nothing.
        argument: What follows the marker.
    """

    page: str
    line: int
    language: str
    source: str
    marker: str = ""
    argument: str = ""


def blocks_of(page: str, text: str) -> list[Block]:
    """Read the fenced blocks of a page, also indented ones."""
    blocks: list[Block] = []
    lines = text.splitlines()
    position = 0
    while position < len(lines):
        fence = _FENCE.fullmatch(lines[position])
        if fence is None:
            position += 1
            continue
        closing = re.compile(rf" *{re.escape(fence[2])} *")
        end = next((n for n in range(position + 1, len(lines)) if closing.fullmatch(lines[n])), None)
        if end is None:
            raise ValueError(f"{page}, line {position + 1}: the fence is never closed")
        marker = _MARKER.fullmatch(lines[position - 1]) if position else None
        source = textwrap.dedent("\n".join(lines[position + 1 : end]))
        kind, argument = (marker[1], marker[2] or "") if marker else ("", "")
        blocks.append(Block(page, position + 1, fence[3], source, kind, argument))
        position = end + 1
    return blocks


def script_of(blocks: list[Block], page: Path) -> str:
    """Make the script that runs a page's blocks; line n of the script is line n of the page."""
    lines: dict[int, str] = {}
    for block in blocks:
        call = f'__import__("page_helper").begin({block.line}); '
        if block.language not in RUN or block.marker in ("output", "run by", "not run"):
            continue
        if block.marker == "fails here":
            error = block.argument.partition(":")[0]
            arguments = f"{error!r}, {str(page)!r}, {block.line}, {block.source!r}, globals()"
            lines[block.line] = f'{call}__import__("page_helper").expect({arguments})'
        elif block.language == "bash":
            lines[block.line] = f'{call}__import__("page_helper").bash({block.source!r})'
        else:
            # `from __future__` has to be the first statement; what such a block prints is not told apart.
            lines[block.line] = "" if block.source.startswith("from __future__") else call
            lines.update(enumerate(block.source.splitlines(), start=block.line + 1))
    return "\n".join(lines.get(number, "") for number in range(1, max(lines, default=0) + 1)) + "\n"


def all_pages() -> list[str]:
    listing = subprocess.run(
        [
            "git",
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "README.md",
            "docs/*.md",
            "packages/*/README.md",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted({name for name in listing.stdout.splitlines() if (ROOT / name).is_file()})


def run_page(script: str, folder: Path, page: str) -> subprocess.CompletedProcess[str]:
    """Run a page's script as a user would: a file in an otherwise empty folder, with an empty home."""
    home, work = folder / "home", folder / "work"
    home.mkdir()
    work.mkdir()
    program = work / f"{Path(page).stem.replace('-', '_')}.py"
    program.write_text(script)
    return subprocess.run(
        [sys.executable, program.name],
        cwd=work,
        env={
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}/usr/local/bin{os.pathsep}/usr/bin{os.pathsep}/bin",
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )


def check_output(blocks: list[Block], printed: str) -> None:
    """Compare each block marked as output with what the block before it printed."""
    parts = re.split(r"\x1e(\d+)\n", printed)
    by_line = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    source = None
    for block in blocks:
        if block.marker == "output":
            assert source is not None, f"{block.page}:{block.line}: no block before it"
            got = by_line[source.line]
            assert doctest.OutputChecker().check_output(block.source + "\n", got, EXACT_UP_TO_DOTS), (
                f"{block.page}:{block.line} says\n{block.source}\nbut the block at line {source.line} prints\n{got}"
            )
        else:
            source = block


def check_syntax(block: Block, where: str) -> None:
    if block.language == "python":
        ast.parse(block.source, filename=where)
    elif block.language == "bash":
        checked = subprocess.run(["bash", "-n", "-c", block.source], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{where}: {checked.stderr}"


def check_distributions(source: str, where: str) -> None:
    """A distribution or extra of ours that a page tells people to install has to exist."""
    extras = {
        table["name"]: set(table.get("optional-dependencies", {}))
        for path in ROOT.glob("packages/*/pyproject.toml")
        for table in [tomllib.loads(path.read_text())["project"]]
    }
    for match in re.finditer(r"\bcheckmaite-[a-z-]+(?:\[[a-z,]+\])?", source):
        requirement = Requirement(match.group())
        assert requirement.name in extras, f"{where}: there is no distribution {requirement.name}"
        assert requirement.extras <= extras[requirement.name], f"{where}: {requirement} has an extra that is not there"


def names_in(path: Path) -> Iterator[str]:
    """Functions of a test module, and methods as ``Class::method``."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield node.name
            yield from (f"{node.name}::{item.name}" for item in node.body if isinstance(item, ast.FunctionDef))
