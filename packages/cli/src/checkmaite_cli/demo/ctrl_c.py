"""Ctrl-C that never leaves half of something behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

__all__ = ["CtrlC"]

INTERRUPTED = 130


class CtrlC:
    """While the block runs, Ctrl-C is a request and not an exception.

    An exception in the middle of anything, such as Ray's start or the store's query, would leave half of it and a
    traceback behind. Here the first Ctrl-C sets :attr:`asked` where somebody is looking (after :meth:`be_patient`),
    and ends the process at once where nothing is lost by that. A second one always ends it at once; a local Ray and
    its workers end with this process.

    Args:
        last_words: What to say when the process ends at once; called in the signal handler.

    Attributes:
        asked: Set by the first Ctrl-C.
    """

    def __init__(self, last_words: Callable[[], str]) -> None:
        self.asked = threading.Event()
        self._last_words = last_words
        self._patient = False
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def be_patient(self, patient: bool = True) -> None:
        """From here on somebody looks at :attr:`asked`; or, with False, no longer."""
        self._patient = patient

    def leave(self) -> NoReturn:
        """End the process here and now, after the last words; nothing else gets to say anything."""
        # Not through sys.stdout or rich: a signal may have come while they hold a lock or half a line.
        if sys.stdout.isatty():
            os.write(1, b"\x1b[?25h\n")  # show the cursor, which a progress bar hides
        os.write(2, self._last_words().encode() + b"\n")
        os._exit(INTERRUPTED)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._patient and not self.asked.is_set():
            self.asked.set()
        else:
            self.leave()
