"""Where queries that outgrow the memory spill to."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from pathlib import Path

__all__ = ["new_scratch"]


def new_scratch() -> str:
    """A path for one connection's spilled data, below a folder that is private to the user, whatever the umask.

    DuckDB makes the path when it first spills, readable by everyone, and removes it when it is closed. So there is
    nothing to clean up after the many queries that never spill, also if their process is killed.
    """
    folder = Path(tempfile.gettempdir()) / f"checkmaite-sql-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    # In a shared folder anyone may have taken that name before us.
    return str((folder if ours else Path(tempfile.mkdtemp(prefix="checkmaite-sql-"))) / secrets.token_hex(8))
