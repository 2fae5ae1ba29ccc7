"""Something to be done in a while, unless it is called off: one thread for all the jobs of a process."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

__all__ = ["Alarm"]


class Alarm:
    """Calls one function, once, after a while.

    A ``threading.Timer`` for each job would start a thread for each, which costs 0.1 ms; here a job that is called off
    in time costs two locks, for the thread looks up when it would have had to wake anyway.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._call: Callable[[], None] | None = None
        self._due = math.inf
        self._wakes = math.inf

    def set(self, seconds: float, call: Callable[[], None]) -> None:
        """Have ``call`` called in so many seconds, instead of what was set before."""
        with self._changed:
            self._call, self._due = call, time.monotonic() + seconds
            if self._thread is None or not self._thread.is_alive():  # what it called may have raised, or we are a fork
                self._thread = threading.Thread(target=self._run, name="checkmaite-alarm", daemon=True)
                self._thread.start()
            elif self._due < self._wakes:
                self._changed.notify()

    def clear(self) -> None:
        """Call nothing."""
        with self._changed:
            self._call, self._due = None, math.inf

    def _run(self) -> None:
        while True:
            with self._changed:
                pause = self._due - time.monotonic()
                if pause > 0:
                    self._wakes = self._due
                    self._changed.wait(None if pause == math.inf else pause)
                    self._wakes = -math.inf
                    continue
                call, self._call, self._due = self._call, None, math.inf
            if call is not None:
                call()
