"""The entry point: runs the command and turns every way it can end into a message and an exit status."""

from __future__ import annotations

import io
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

__all__ = ["main"]

FAILED = 1
DEFECT = 70
"""As sysexits.h has it for an internal error, so that scripts can tell it from all that a user can mend."""
INTERRUPTED = 130


def main() -> NoReturn:
    """Run ``checkmaite`` with the process's arguments.

    Exit status: 0 if all went well, 1 after an error of ours (its message and hint go to stderr, without a
    traceback), 2 for a command that cannot be understood, 70 after an unexpected exception (with its traceback, and how
    to report it), 130 after Ctrl-C.
    """
    signal.signal(signal.SIGINT, _interrupted)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Whatever a store holds can be shown where the locale's encoding has no sign for it.
            stream.reconfigure(errors="backslashreplace")
    try:
        # Imported here, so that Ctrl-C while Python is still loading ends as quietly as later on.
        from checkmaite_cli.app import app

        app()
        sys.exit(0)
    except Exception as error:  # the boundary of the program: all of them are told
        from checkmaite_cli.console import show_error
        from checkmaite_core.defects import explained
        from checkmaite_core.errors import DefectError

        told = explained(error, "running this command")
        if isinstance(told, DefectError):
            sys.stderr.write(told.traceback)
        show_error(told)
        sys.exit(DEFECT if isinstance(told, DefectError) else FAILED)


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    # No exception: libraries answer it in their own ways, and some, such as a query engine in the middle of its
    # native code, end the process with a dump. Whatever a store does is safe against being killed.
    os.write(2, b"\nInterrupted.\n")
    os._exit(INTERRUPTED)
