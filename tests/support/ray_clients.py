"""Other clients: processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys


def client(code: str, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """A process that runs ``code``; what it prints, errors too, is in its ``stdout``."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
