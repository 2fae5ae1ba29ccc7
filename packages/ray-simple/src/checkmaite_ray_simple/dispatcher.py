"""One thread that does everything a backend does later: answers from Ray, and timers."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Dispatcher"]


class Dispatcher:
    """Calls functions one after the other, in a thread of its own.

    Ray's callbacks run in threads that must not block, and a job must cost a record, not a thread. With one thread
    the backend's bookkeeping needs no locks either.

    Args:
        name: Of the thread.
        may_call: Asked before each call; where it says no, the call is dropped.
        on_error: Called with what a function raised, and its arguments.
    """

    def __init__(
        self, name: str, may_call: Callable[[], bool], on_error: Callable[[Exception, tuple[Any, ...]], None]
    ) -> None:
        self._may_call = may_call
        self._on_error = on_error
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call it as soon as possible."""
        self.call_later(0.0, function, *arguments)

    def call_later(self, seconds: float, function: Callable[..., None], *arguments: Any) -> None:
        """Call it after ``seconds``."""
        with self._changed:
            if not self._stopped:
                heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), function, arguments))
                self._changed.notify()

    def stop(self) -> None:
        """End the thread; what has not been called by then is dropped."""
        with self._changed:
            self._stopped = True
            self._due.clear()
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5.0)  # it may be inside a call that a dying Ray never answers

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._stopped:
                    return
                _, _, function, arguments = heapq.heappop(self._due)
            try:
                if self._may_call():
                    function(*arguments)
            except Exception as error:  # the boundary of the thread, which must go on: handed to its owner
                self._on_error(error, arguments)
