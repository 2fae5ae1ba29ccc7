"""A name without spaces for this process's Python, for the workers of a local Ray.

Ray 2.60 starts a worker by a line for ``bash`` in which it quotes the arguments and not the interpreter
(``RuntimeEnvContext.exec_worker``). With a space in the path of the environment no worker ever starts, and jobs wait
for ever without a word.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import tempfile

__all__ = ["use_plain_python"]


def use_plain_python(undo: contextlib.ExitStack) -> contextlib.ExitStack:
    """Have a Ray that is started now start its processes by a link to this environment, if its path needs quotes.

    A virtual environment that is entered by a link is the same environment: Python looks for its ``pyvenv.cfg`` beside
    the name by which it was started.

    Args:
        undo: Removes the link; to be closed when the local Ray has ended.

    Returns:
        What gives this process its own name for its Python back; to be closed once Ray has started.
    """
    starting = contextlib.ExitStack()
    own = sys.executable
    if shlex.quote(own) == own or not own.startswith(sys.prefix + os.sep):
        return starting
    folder = tempfile.mkdtemp(prefix="checkmaite-python-")
    if shlex.quote(folder) != folder:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="checkmaite-python-", dir="/tmp")
    undo.callback(shutil.rmtree, folder, ignore_errors=True)
    link = os.path.join(folder, "env")
    os.symlink(sys.prefix, link)
    sys.executable = os.path.join(link, os.path.relpath(own, sys.prefix))
    starting.callback(setattr, sys, "executable", own)
    return starting
