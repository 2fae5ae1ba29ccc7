"""Processes that a job has started, and that are still there when it ends. On Linux; elsewhere nothing is done."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
import time
from pathlib import Path

__all__ = ["adopt_orphans", "children", "end_descendants"]

_SET_CHILD_SUBREAPER = 36
_PATIENCE_S = 5.0
"""What cannot be ended in that time waits for the kernel, such as for a disk that does not answer."""
_PAUSE_S = 0.005


@functools.cache
def adopt_orphans() -> None:
    """From now on this process, not ``init``, becomes the parent of its descendants whose own parent has ended.

    So those that have cut themselves off on purpose are found as well.
    """
    if sys.platform == "linux":
        # It fails where the kernel knows no such thing; then those are not found.
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> frozenset[int]:
    """The processes whose parent is this one, also those that have ended and that nobody has asked about."""
    if not _has_any():
        return frozenset()
    return frozenset(_children_of(os.getpid()))


def end_descendants(but: frozenset[int] = frozenset()) -> list[int]:
    """Kill this process's children and theirs, and wait for their end.

    Args:
        but: Children that are left alone, with all of theirs.

    Returns:
        Those that were not to be ended.
    """
    spared = but | _of_multiprocessing("resource_tracker", "_resource_tracker", "_pid")
    # It would pass this job's directory and variables on. Only multiprocessing may ask about its end: it counts on it.
    forks = _of_multiprocessing("forkserver", "_forkserver", "_forkserver_pid") - spared
    _kill(forks)
    spared |= forks
    end = time.monotonic() + _PATIENCE_S
    while True:
        # Again and again: orphans become our children, and one may have been started while the others were killed.
        found = children() - spared
        if not found or time.monotonic() > end:
            return sorted(found)
        _kill(found)
        if not sum(_reaped(pid) for pid in found):
            time.sleep(_PAUSE_S)


def _kill(pids: frozenset[int]) -> None:
    for pid in _with_descendants(pids):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _has_any() -> bool:
    """Whether there is any child: one call, where reading who they are takes dozens."""
    if sys.platform != "linux":
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _children_of(pid: int) -> set[int]:
    found: set[int] = set()
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found.update(int(text) for text in (task / "children").read_text().split())
    return found


def _with_descendants(pids: frozenset[int]) -> list[int]:
    found: list[int] = []
    left = list(pids)
    while left:
        pid = left.pop()
        found.append(pid)
        left.extend(_children_of(pid))
    return found


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _of_multiprocessing(module: str, singleton: str, attribute: str) -> frozenset[int]:
    """A process that the standard library has started to help others, and takes for granted from then on."""
    helper = getattr(sys.modules.get(f"multiprocessing.{module}"), singleton, None)
    pid = getattr(helper, attribute, None)
    return frozenset() if pid is None else frozenset({pid})
