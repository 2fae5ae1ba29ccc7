"""What code inside a run can say and ask: how far it is, and whether to stop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sized
from contextvars import ContextVar
from typing import Protocol, TypeVar

__all__ = ["RunMonitor", "cancelled", "monitored", "progress"]

T = TypeVar("T")


class RunMonitor(Protocol):
    """The backend's end of a run. Its methods are cheap and never raise for a lost connection."""

    def report_progress(self, done: int, total: int | None, description: str) -> None:
        """Pass on how far the run is; the monitor itself decides how often it really sends."""
        ...

    def cancel_requested(self) -> bool:
        """Whether somebody has asked for the job to be cancelled."""
        ...

    def report_waiting(self, reason: str | None) -> None:
        """Pass on what the run waits for, such as a store that does not answer; None once it goes on."""
        ...


_monitor: ContextVar[RunMonitor | None] = ContextVar("checkmaite_run_monitor", default=None)


@contextlib.contextmanager
def monitored(monitor: RunMonitor) -> Iterator[None]:
    """Connect :func:`progress` and :func:`cancelled` to ``monitor`` inside the block."""
    token = _monitor.set(monitor)
    try:
        yield
    finally:
        _monitor.reset(token)


def progress(iterable: Iterable[T], total: int | None = None, description: str = "") -> Iterator[T]:
    """Iterate, and let the job's handle see how far it is.

    Args:
        iterable: What to iterate over.
        total: How many items there will be; taken from ``len()`` where there is one.
        description: What is being done, in a word or two.

    Outside a job it only iterates. It works in the thread that the run was started in; a thread of your own
    sees the job only if you start it in a copy of the context (``contextvars.copy_context().run``).

    Example:
        >>> sum(progress([1, 2, 3]))
        6
    """
    monitor = _monitor.get()
    if monitor is None:
        yield from iterable
        return
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    monitor.report_progress(0, total, description)
    done = 0
    for done, item in enumerate(iterable, start=1):
        yield item
        monitor.report_progress(done, total, description)
    if total != done:
        monitor.report_progress(done, done, description)


def cancelled() -> bool:
    """Whether the job that this code runs in is to stop.

    Code that sees True should return or raise soon: whatever it returns then is not stored. Code that never
    asks is stopped by force after the backend's grace period. Outside a job it is always False.
    """
    monitor = _monitor.get()
    return monitor is not None and monitor.cancel_requested()
