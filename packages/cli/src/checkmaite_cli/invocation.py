"""How this program was called, so that what it suggests can be typed as it stands."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["as_typed", "own_command"]


def own_command() -> str:
    """The command that runs this program from the current folder in the user's shell.

    ``uv run checkmaite`` if it was started so from the project that it belongs to; ``checkmaite`` if the shell finds
    it; otherwise its full path.
    """
    script, environment = Path(sys.argv[0]).absolute(), Path(sys.prefix)
    path = os.environ.get("PATH", os.defpath)
    if "UV_RUN_RECURSION_DEPTH" in os.environ:
        # uv has put the environment in front of PATH for us; in the user's shell it is not there.
        path = os.pathsep.join(part for part in path.split(os.pathsep) if not Path(part).is_relative_to(environment))
        if environment.parent in (Path.cwd(), *Path.cwd().parents) and shutil.which("uv", path=path):
            return "uv run checkmaite"
    found = shutil.which("checkmaite", path=path)
    if found is not None and Path(found).exists() and script.exists() and Path(found).samefile(script):
        return "checkmaite"
    return shlex.quote(str(script))


def as_typed(location: str) -> str:
    """A store's location as it is typed in the current folder."""
    folder = Path(location)
    if folder.is_absolute() and folder.is_relative_to(Path.cwd()):
        location = str(folder.relative_to(Path.cwd()))
    return shlex.quote(location)
