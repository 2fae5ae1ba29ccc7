"""Waiting for events and files, always with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["DEADLINE", "eventually", "wait_for_file"]

DEADLINE = 60.0
"""Seconds after which something that must happen is taken not to."""

_STEP = 0.01


def eventually(condition: Callable[[], bool], what: str, *, deadline: float = DEADLINE) -> None:
    """Wait until ``condition()`` holds.

    Args:
        condition: Asked again and again.
        what: What is waited for, for the message.
        deadline: Seconds to wait at most.

    Raises:
        AssertionError: It did not hold in time.
    """
    end = time.monotonic() + deadline
    pause = threading.Event()
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline:g} s in vain for: {what}")
        pause.wait(_STEP)


def wait_for_file(path: Path, *, deadline: float = DEADLINE) -> None:
    """Wait until a file is there.

    Raises:
        AssertionError: It did not come in time.
    """
    eventually(path.exists, f"the file {path}", deadline=deadline)
