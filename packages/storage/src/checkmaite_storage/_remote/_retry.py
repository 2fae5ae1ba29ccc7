"""How long and how often a request is tried."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from checkmaite_storage._remote._failure import Kind

__all__ = ["RetryPolicy", "Retrying", "transfer_seconds"]

SLOWEST = 256 * 1024
"""Bytes per second; a slower link counts as down."""


def transfer_seconds(size: int) -> float:
    """Seconds that ``size`` bytes may take on top of a time limit: a link slower than 256 KiB/s counts as down."""
    return size / SLOWEST


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with full jitter, bounded by deadlines. All times in seconds, by the monotonic clock.

    Attributes:
        deadline: From the first attempt to giving up.
        connect_deadline: From the first of several attempts in a row that could not connect at all, as with a
            mistyped endpoint, to giving up.
        attempt_timeout: How long one attempt may wait for its answer.
        initial_backoff: The first pause is a random part of this; it doubles with each attempt.
        max_backoff: The longest pause.
        slowest: Bytes per second; what a transfer may take at this rate is added to each limit.
        sleep: Pauses.
        clock: Tells the time.
        uniform: Draws a pause between two bounds.
    """

    deadline: float = 60.0
    connect_deadline: float = 10.0
    attempt_timeout: float = 15.0
    initial_backoff: float = 0.1
    max_backoff: float = 5.0
    slowest: float = SLOWEST
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)
    uniform: Callable[[float, float], float] = field(default=random.uniform, repr=False, compare=False)

    def begin(self, size: int = 0) -> Retrying:
        """Start the clock of one operation that transfers ``size`` bytes."""
        return Retrying(self, size)


class Retrying:
    """One operation's attempts.

    Attributes:
        attempts: How many have been made or begun.
    """

    def __init__(self, policy: RetryPolicy, size: int) -> None:
        self._policy = policy
        self._allowance = size / policy.slowest
        self._start = policy.clock()
        self._unreachable_since: float | None = None
        self.attempts = 1

    @property
    def elapsed(self) -> float:
        """Seconds since the operation began."""
        return self._policy.clock() - self._start

    @property
    def timeout(self) -> float:
        """Seconds that the current attempt may take; above zero."""
        left = self._policy.deadline + self._allowance - self.elapsed
        return max(min(self._policy.attempt_timeout + self._allowance, left), 0.001)

    def again(self, kind: Kind) -> bool:
        """Whether another attempt may begin after a failure of this kind; pauses before it says yes."""
        if not kind.is_retried:
            return False
        policy = self._policy
        limit = policy.deadline + self._allowance
        if kind is not Kind.UNREACHABLE:
            self._unreachable_since = None
        elif self._unreachable_since is None:
            self._unreachable_since = self.elapsed
        if self._unreachable_since is not None:
            limit = min(limit, self._unreachable_since + policy.connect_deadline)
        backoff = min(policy.initial_backoff * 2.0 ** min(self.attempts - 1, 32), policy.max_backoff)
        pause = policy.uniform(0.0, backoff)
        if self.elapsed + pause >= limit:
            return False
        policy.sleep(pause)
        self.attempts += 1
        return True
