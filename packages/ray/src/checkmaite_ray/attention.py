"""Whether anybody in this process waits for news of jobs just now."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

__all__ = ["Attention"]


class Attention:
    """Counts those who wait. Safe from any thread.

    Args:
        called: Called, in the thread of whoever it is, when the first one begins to wait.
    """

    def __init__(self, called: Callable[[], None]) -> None:
        self._called = called
        self._lock = threading.Lock()
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    def begin(self) -> None:
        """One more waits."""
        with self._lock:
            self._count += 1
            first = self._count == 1
        if first:
            self._called()

    def end(self, *_: object) -> None:
        """One has ended waiting."""
        with self._lock:
            self._count -= 1

    @contextlib.contextmanager
    def paid(self) -> Iterator[None]:
        """Somebody waits within the block."""
        self.begin()
        try:
            yield
        finally:
            self.end()
