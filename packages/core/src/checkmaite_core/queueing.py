"""Room for unfinished jobs: how a backend of this process keeps its queue bounded."""

from __future__ import annotations

import threading
import time

from checkmaite_core.errors import BackpressureError, SubmissionError
from checkmaite_core.tracking import LONGEST_BLOCK

__all__ = ["Room"]


class Room:
    """Counts the jobs that have not ended. Safe to use from any thread.

    Args:
        limit: How many there may be.
        retry_after: What a caller who is refused is told to wait (seconds).
    """

    def __init__(self, limit: int, retry_after: float = 1.0) -> None:
        self._limit = limit
        self._retry_after = retry_after
        self._used = 0
        self._changed = threading.Condition()

    def take(self, count: int, timeout: float | None) -> None:
        """Take room for ``count`` jobs together.

        Args:
            count: How many.
            timeout: Seconds to wait for it; None waits as long as it takes.

        Raises:
            BackpressureError: There was none in time.
            SubmissionError: There never will be for so many.
        """
        if count > self._limit:
            raise SubmissionError(
                f"{count} works are more than the {self._limit} jobs that may be unfinished at a time.",
                hint="Submit fewer together.",
            )
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._used + count > self._limit:
                left = LONGEST_BLOCK if end is None else min(LONGEST_BLOCK, end - time.monotonic())
                if left <= 0:
                    raise BackpressureError(
                        f"{self._used} jobs have not ended, of the {self._limit} that may be unfinished at a time, so "
                        f"there is no room for {count} more.",
                        hint=f"Try again in {self._retry_after:g} s, or have submit wait: queue_timeout=SECONDS.",
                        retry_after=self._retry_after,
                    )
                self._changed.wait(left)
            self._used += count

    def give(self, count: int = 1) -> None:
        """Jobs have ended, or were not started after all."""
        with self._changed:
            self._used -= count
            self._changed.notify_all()
