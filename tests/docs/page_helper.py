"""What a page's script calls for the blocks that are not plain Python; see conftest.py."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

MARK = "\x1e"
"""Starts the line that separates one block's output from the next one's."""


def begin(line: int) -> None:
    """Say that the output of the block at ``line`` starts here."""
    sys.stdout.write(f"{MARK}{line}\n")
    sys.stdout.flush()


def bash(source: str) -> None:
    """Run a block of bash; any failing command fails the page."""
    sys.stdout.flush()
    subprocess.run(["bash", "-euo", "pipefail", "-c", source], check=True, stdin=subprocess.DEVNULL)


def expect(error: str, page: str, line: int, source: str, namespace: dict[str, Any]) -> None:
    """Run a block that must end with an error of this class, because what it needs does not exist here."""
    try:
        exec(compile("\n" * line + source, page, "exec"), namespace)
    except Exception as raised:  # which class it is decides, below
        if type(raised).__name__ != error:
            raise
    else:
        raise AssertionError(f"{page}, line {line}: {error} was expected, and nothing was raised")
