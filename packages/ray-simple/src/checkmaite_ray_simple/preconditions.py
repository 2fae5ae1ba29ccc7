"""What Ray needs of the process that starts or joins it: checked before, since Ray finds out late, or not in words."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

from ray._common.utils import get_default_ray_temp_dir
from ray._private import state as ray_state
from ray._private import worker as ray_worker

from checkmaite_core.errors import ConfigurationError
from checkmaite_ray_simple.utf8 import require_utf8

__all__ = ["check_local_start", "check_process", "disarm_forks", "many_files"]

_LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Bytes of the path of a socket: what the operating system takes, without the zero at its end."""
_SOCKET = "session_2026-12-01_16-18-29_674289_{pid}/sockets/plasma_store"
"""The longest of a session's sockets, below Ray's temporary folder."""
_ENOUGH_FILES = 65536
_FEW_FILES = 1024
"""Open files per process: what the soft limit is raised to where it may be, and below which Ray gets into trouble."""


def check_process() -> None:
    """Refuse a process whose paths cannot be told to Ray, which has them as UTF-8 text.

    Raises:
        ConfigurationError: One of them is something else, or the current directory is gone.
    """
    try:
        folder = os.getcwd()
    except FileNotFoundError as error:
        raise ConfigurationError(
            "the current directory of this process has been removed, and Ray starts workers in it.",
            hint="Change to a folder that is there: os.chdir(...), or cd in the shell.",
        ) from error
    require_utf8(folder, "the current directory", "Start from a folder whose path is UTF-8.")
    for entry in sys.path:
        require_utf8(
            str(entry), "an entry of sys.path", "Move that code to a path that is UTF-8, or rename the folder."
        )
    require_utf8(sys.executable or "", "this Python's path", "Make the environment anew at a path that is UTF-8.")


def check_local_start() -> None:
    """Refuse what a local Ray cannot be started with.

    Raises:
        ConfigurationError: Its temporary folder cannot be used.
    """
    folder: str = get_default_ray_temp_dir()  # type: ignore[no-untyped-call]
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "")
    origin = f" (from {variable})" if variable else ""
    what = f"Ray's temporary folder{origin}"
    require_utf8(folder, what, "Type: export RAY_TMPDIR=/tmp")
    longest = os.path.join(folder, _SOCKET.format(pid=os.getpid()))
    excess = len(os.fsencode(longest)) - _LONGEST_SOCKET
    if excess > 0:
        left = len(os.fsencode(os.path.dirname(folder))) - excess
        raise ConfigurationError(
            f"{what}, {folder}, is {excess} bytes too long: Ray puts sockets below it, and the path of a socket may "
            f"have {_LONGEST_SOCKET} bytes, which leaves {left} for {variable or 'the folder above it'}.",
            hint="Nothing has been started. Type: export RAY_TMPDIR=/tmp (or another short path on a local disk), and "
            "start this program again.",
        )
    _require_writable(folder, what)


def _require_writable(folder: str, what: str) -> None:
    there = folder
    try:
        os.makedirs(folder, exist_ok=True)
        probe = os.path.join(folder, f".checkmaite-{os.getpid()}-{time.monotonic_ns()}")
        os.mkdir(probe)
        os.rmdir(probe)
    except OSError as error:
        raise ConfigurationError(
            f"{what}, {there}, cannot be written to by user {os.getuid()}: {error.strerror or error}.",
            hint="Another user may have made it. Type: export RAY_TMPDIR=FOLDER, with a short path to a folder of your "
            "own on a local disk, such as /tmp/ray-of-mine.",
        ) from error


@contextlib.contextmanager
def many_files() -> Iterator[None]:
    """Within the block, what is started may open as many files as the hard limit allows; say so if those are few.

    Ray's processes inherit the limit, and hold some files for each worker and connection. A process that had too few
    itself keeps the higher limit: it is connected to each of its workers.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_FILES)
    if soft == resource.RLIM_INFINITY or soft >= most:
        most = soft
    if most != resource.RLIM_INFINITY and most < _FEW_FILES:
        sys.stderr.write(
            f"checkmaite: a process may open {most} files here. Ray needs more as workers and jobs come, and fails "
            f"then with 'Too many open files'.\n  -> Type: ulimit -n {_ENOUGH_FILES} before Python starts "
            "(LimitNOFILE= of a service, ulimits of a container).\n"
        )
    if most != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        if most != soft and soft >= _FEW_FILES:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@functools.cache
def disarm_forks() -> None:
    """Have forks of this process end without Ray's last duties, which are the parent's.

    Otherwise a child that ends by ``sys.exit`` closes connections that it shares, and crashes in that, or ends the
    processes of the parent's local Ray.
    """
    os.register_at_fork(after_in_child=_disarm)


def _disarm() -> None:
    atexit.unregister(ray_worker.shutdown)
    if sys.excepthook is ray_worker.custom_excepthook:
        sys.excepthook = ray_worker.normal_excepthook  # Ray's reports to the cluster, and waits for ever here
    node: Any = ray_worker._global_node
    if node is not None:
        node.kill_all_processes = _nothing
    # What is behind these talks to threads that a fork does not have, and crashes when the interpreter takes it apart,
    # as does what Ray's library has to do at the end. The last registered is called first, with the exit status.
    library = ctypes.CDLL(None)
    if hasattr(library, "on_exit"):
        library.on_exit(library._exit, None)
    for kept in (ray_worker.global_worker, ray_state.state, node):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


def _nothing(*_: Any, **__: Any) -> None:
    """In place of what ends the processes of a Ray: they are the parent's."""
